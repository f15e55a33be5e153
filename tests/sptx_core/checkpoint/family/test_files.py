"""Where published files are, and what they are."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
import torch

from sptx_core.checkpoint.family import files
from sptx_core.checkpoint.family.files import files_of
from sptx_core.errors import InputError


def saved(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def test_a_folder_gives_its_files_by_number(tmp_path: Path) -> None:
    for name in ("net10.h5", "net9.h5", "final.1.3.3.v2", "LICENSE", "readme.md"):
        (tmp_path / name).write_bytes(b"\x89HDF\r\n\x1a\n")
    (tmp_path / "folder.pt").mkdir()
    assert [file.plain_name for file in files_of(tmp_path)] == ["final.1.3.3.v2", "net9.h5", "net10.h5"]


def test_a_wheel_gives_its_files(tmp_path: Path) -> None:
    wheel = tmp_path / "x-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in ("x/models/b2.h5", "x/models/b1.h5", "x/__init__.py"):
            archive.writestr(name, name.encode())
    found = files_of(wheel)
    assert [file.name for file in found] == [f"{wheel}/x/models/b1.h5", f"{wheel}/x/models/b2.h5"]
    assert found[0].content == b"x/models/b1.h5"


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and no more"])
def test_a_damaged_wheel_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.whl").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.whl is damaged or no wheel"):
        files_of(tmp_path / "x.whl")


def test_files_are_told_by_content(tmp_path: Path) -> None:
    contents = {"a": b"\x89HDF\r\n\x1a\n", "b": b"\n\x05", "c": saved({"x": torch.ones(2)}), "d": b"text"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    kinds = [
        (file.is_keras, file.is_frozen_graph, file.is_state_dict)
        for name in contents
        for file in files_of(tmp_path / name)
    ]
    assert kinds == [(True, False, False), (False, True, False), (False, False, True), (False, False, False)]


def test_what_does_not_exist_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.h5 does not exist"):
        files_of(tmp_path / "none.h5")


def test_a_file_far_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_SIZE", 3)
    (tmp_path / "x.pt").write_bytes(b"1234")
    with pytest.raises(InputError, match=r"x\.pt is larger than"):
        files_of(tmp_path / "x.pt")


class Malicious:
    """Pickles as a call that leaves a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> object:
        return Path.touch, (self.trace,)


def test_pickled_code_never_runs(tmp_path: Path) -> None:
    path, trace = tmp_path / "x.pt", tmp_path / "ran"
    path.write_bytes(saved({"initial_conv.weight": torch.ones(2), "x": Malicious(trace)}))
    with pytest.raises(InputError, match=r"x\.pt is refused: .* would run code"):
        files_of(path)[0].state_dict()
    assert not trace.exists()
    with pytest.raises(AttributeError):  # as loading it without care does
        assert torch.load(path, weights_only=False)["x"].none
    assert trace.exists()


@pytest.mark.parametrize("share", [0.2, 0.7, 0.99])
def test_a_truncated_state_dict_is_one_sentence(tmp_path: Path, share: float) -> None:
    content = saved({"x": torch.ones(200)})
    (tmp_path / "x.pt").write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match=r"x\.pt is damaged or incomplete"):
        files_of(tmp_path / "x.pt")[0].state_dict()
