"""Columns shared by threads."""

import pytest
import torch


@pytest.mark.parametrize(("count", "threads"), [(1, 1), (5, 1), (7, 3), (3, 8), (200, 64), (200, 1000)])
def test_column_i_is_worked_on_once_by_thread_i_modulo_threads(pieces, count: int, threads: int) -> None:
    thread, turn = torch.zeros(count, dtype=torch.int64), torch.full((count,), -1, dtype=torch.int32)
    pieces.columns(count, threads, thread, turn)
    assert turn.sort().values.tolist() == list(range(count))
    used = min(count, threads, 64)
    for i in range(used):
        assert thread[i::used].unique().tolist() == [int(thread[i])]
        assert turn[i::used].diff().gt(0).all()  # in order
    assert thread[0] == torch.tensor(pieces.own_thread(), dtype=torch.uint64).view(torch.int64)


def test_several_threads_work(pieces) -> None:
    thread, turn = torch.zeros(12, dtype=torch.int64), torch.zeros(12, dtype=torch.int32)
    pieces.columns(12, 4, thread, turn)
    assert thread[0] not in thread[1:4]
