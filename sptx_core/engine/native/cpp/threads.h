// Work that threads share by column. It needs no instruction set.

#pragma once

#include <pthread.h>

#include "arguments.h"

namespace sptx {
namespace {

template <class Work>
struct Share {  // columns first, first + threads, ... below `count`, for one thread
    const Work* work;
    int first, count, threads;

    static void* run(void* given) {
        const Share& share = *static_cast<const Share*>(given);
        for (int column = share.first; column < share.count; column += share.threads) (*share.work)(column);
        return nullptr;
    }
};

// Calls work(column) for columns 0 ... count - 1: column i by thread i % threads, thread 0 being the caller's, each
// thread in ascending order. A thread that cannot be started leaves its columns to the caller's. Returns when all are
// done. `threads` beyond `count` or MAX_THREADS are not used.
template <class Work>
void share_columns(int count, int threads, const Work& work) {
    Share<Work> shares[MAX_THREADS];
    pthread_t ids[MAX_THREADS];
    bool started[MAX_THREADS] = {};
    threads = smaller(smaller(threads, count), MAX_THREADS);
    for (int t = 0; t < threads; t++) shares[t] = {&work, t, count, threads};
    for (int t = 1; t < threads; t++) started[t] = !pthread_create(&ids[t], nullptr, Share<Work>::run, &shares[t]);
    for (int t = 0; t < threads; t++)
        if (!started[t]) Share<Work>::run(&shares[t]);
    for (int t = 1; t < threads; t++)
        if (started[t]) pthread_join(ids[t], nullptr);
}

}  // namespace
}  // namespace sptx
