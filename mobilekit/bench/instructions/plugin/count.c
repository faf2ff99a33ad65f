// SPDX-License-Identifier: MIT
//
// Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
// documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
// rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to
// permit persons to whom the Software is furnished to do so, subject to the following conditions:
//
// The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
// Software.
//
// THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
// WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
// COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
// OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
//
// Counts how often each piece of a program's code runs, for qemu's linux-user emulation of aarch64.
//
// The program speaks to it through lseek on file descriptors that no kernel knows, and which it refuses:
//   lseek(-7701, ADDRESS, 0)  a segment ends, and the next begins, whenever the instruction there is about to run; to
//                             be said before that instruction has run for the first time
//   lseek(-7702, 1, 0)        count from here
//   lseek(-7702, 0, 0)        and up to here
//
// Its arguments are `out=FILE`, and for misses of caches `cache=K:W:K:W`: the KiB and the ways of the first and of the
// second cache of data. It writes lines to the file:
//   begin                     counting begins
//   segment N P C P C ...     a segment that began at the N-th address (-1: where counting began): each piece P of code
//                             that ran in it, and how often
//   misses F S                with `cache`: the lines that this segment missed in the first cache and in the second
//   end                       counting ended
//   piece P ADDRESS W W ...   at the program's end: where a piece lies, and its instructions, in hexadecimal
//   done                      all is written

#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache.h"

// What is used of qemu's interface for plugins, version 1, as its documentation describes it ("QEMU TCG Plugins"). No
// package has the header.
#define EXPORT __attribute__((visibility("default")))
typedef uint64_t qemu_plugin_id_t;
typedef struct qemu_info_t qemu_info_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum qemu_plugin_cb_flags { QEMU_PLUGIN_CB_NO_REGS, QEMU_PLUGIN_CB_R_REGS, QEMU_PLUGIN_CB_RW_REGS };
enum qemu_plugin_mem_rw { QEMU_PLUGIN_MEM_R = 1, QEMU_PLUGIN_MEM_W, QEMU_PLUGIN_MEM_RW };
enum qemu_plugin_op { QEMU_PLUGIN_INLINE_ADD_U64 };
typedef void (*udata_cb)(qemu_plugin_id_t, void *);
typedef void (*vcpu_udata_cb)(unsigned int, void *);
typedef uint32_t qemu_plugin_meminfo_t;
typedef void (*vcpu_mem_cb)(unsigned int, qemu_plugin_meminfo_t, uint64_t, void *);
typedef void (*tb_cb)(qemu_plugin_id_t, struct qemu_plugin_tb *);
typedef void (*syscall_cb)(qemu_plugin_id_t, unsigned int, int64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                           uint64_t, uint64_t, uint64_t);
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, tb_cb);
void qemu_plugin_register_vcpu_syscall_cb(qemu_plugin_id_t, syscall_cb);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t, udata_cb, void *);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *, vcpu_udata_cb, enum qemu_plugin_cb_flags,
                                            void *);
void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *, enum qemu_plugin_op, void *, uint64_t);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *, vcpu_mem_cb, enum qemu_plugin_cb_flags,
                                      enum qemu_plugin_mem_rw, void *);
unsigned int qemu_plugin_mem_size_shift(qemu_plugin_meminfo_t);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);
EXPORT int qemu_plugin_version = 1;

enum { LSEEK = 62, STOP_FD = -7701, COUNT_FD = -7702, MAX_STOPS = 256 };

// Instructions that always run one after another: a translated block, or a part of one between stops.
struct piece {
    uint64_t count;  // first, as translated code adds to it
    uint64_t address;
    uint32_t length;
    bool ran;
    uint32_t words[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct piece **pieces;
static size_t piece_count, piece_room;
static uint64_t stops[MAX_STOPS];
static intptr_t stop_count, began;
static bool counting, has_caches;
static struct cache first_cache, second_cache;
static FILE *out;

static void die(const char *what) {
    fprintf(stderr, "count plugin: %s\n", what);
    exit(EXIT_FAILURE);
}

// Writes the segment that ends here, and sets all counts to zero.
static void end_segment(void) {
    fprintf(out, "segment %" PRIdPTR, began);
    for (size_t i = 0; i < piece_count; i++) {
        struct piece *piece = pieces[i];
        if (piece->count) {
            fprintf(out, " %zu %" PRIu64, i, piece->count);
            piece->count = 0;
            piece->ran = true;
        }
    }
    fputc('\n', out);
    if (!has_caches) return;
    fprintf(out, "misses %" PRIu64 " %" PRIu64 "\n", first_cache.misses, second_cache.misses);
    first_cache.misses = second_cache.misses = 0;
}

static void on_access(unsigned int vcpu, qemu_plugin_meminfo_t info, uint64_t address, void *unused) {
    (void)vcpu, (void)unused;
    if (!counting) return;
    pthread_mutex_lock(&lock);
    cache_access(&first_cache, address, UINT64_C(1) << qemu_plugin_mem_size_shift(info));
    pthread_mutex_unlock(&lock);
}

static void on_stop(unsigned int vcpu, void *number) {
    (void)vcpu;
    pthread_mutex_lock(&lock);
    if (counting) {
        end_segment();
        began = (intptr_t)number;
    }
    pthread_mutex_unlock(&lock);
}

static void start_counting(void) {
    for (size_t i = 0; i < piece_count; i++) pieces[i]->count = 0;
    began = -1;
    counting = true;
    fputs("begin\n", out);
}

static void stop_counting(void) {
    if (!counting) return;
    end_segment();
    counting = false;
    fputs("end\n", out);
}

static void on_syscall(qemu_plugin_id_t id, unsigned int vcpu, int64_t number, uint64_t fd, uint64_t offset,
                       uint64_t a3, uint64_t a4, uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8) {
    (void)id, (void)vcpu, (void)a3, (void)a4, (void)a5, (void)a6, (void)a7, (void)a8;
    if (number != LSEEK) return;
    pthread_mutex_lock(&lock);
    if ((int32_t)fd == STOP_FD) {
        if (stop_count == MAX_STOPS) die("too many stops");
        stops[stop_count++] = offset;
    } else if ((int32_t)fd == COUNT_FD) {
        if (offset) start_counting();
        else stop_counting();
    }
    pthread_mutex_unlock(&lock);
}

static intptr_t stop_at(uint64_t address) {
    for (intptr_t i = 0; i < stop_count; i++)
        if (stops[i] == address) return i;
    return -1;
}

static void add_piece(const struct qemu_plugin_tb *tb, size_t first, size_t last) {
    struct qemu_plugin_insn *head = qemu_plugin_tb_get_insn(tb, first);
    struct piece *piece = calloc(1, sizeof *piece + (last - first) * sizeof(uint32_t));
    if (piece_count == piece_room) {
        piece_room = piece_room ? 2 * piece_room : 4096;
        pieces = realloc(pieces, piece_room * sizeof *pieces);
    }
    if (!piece || !pieces) die("out of memory");
    piece->address = qemu_plugin_insn_vaddr(head);
    piece->length = last - first;
    for (size_t i = first; i < last; i++)
        memcpy(&piece->words[i - first], qemu_plugin_insn_data(qemu_plugin_tb_get_insn(tb, i)), sizeof(uint32_t));
    pieces[piece_count++] = piece;
    // After the callback of a stop on the same instruction, which so ends the segment before.
    qemu_plugin_register_vcpu_insn_exec_inline(head, QEMU_PLUGIN_INLINE_ADD_U64, &piece->count, 1);
}

static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb *tb) {
    (void)id;
    size_t length = qemu_plugin_tb_n_insns(tb), first = 0;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < length; i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        if (has_caches)
            qemu_plugin_register_vcpu_mem_cb(insn, on_access, QEMU_PLUGIN_CB_NO_REGS, QEMU_PLUGIN_MEM_RW, NULL);
        intptr_t stop = stop_at(qemu_plugin_insn_vaddr(insn));
        if (stop < 0) continue;
        if (i > first) add_piece(tb, first, i);
        first = i;
        qemu_plugin_register_vcpu_insn_exec_cb(insn, on_stop, QEMU_PLUGIN_CB_NO_REGS, (void *)stop);
    }
    add_piece(tb, first, length);
    pthread_mutex_unlock(&lock);
}

static void on_exit_of_program(qemu_plugin_id_t id, void *unused) {
    (void)id, (void)unused;
    for (size_t i = 0; i < piece_count; i++) {
        if (!pieces[i]->ran) continue;
        fprintf(out, "piece %zu %" PRIx64, i, pieces[i]->address);
        for (uint32_t j = 0; j < pieces[i]->length; j++) fprintf(out, " %" PRIx32, pieces[i]->words[j]);
        fputc('\n', out);
    }
    fputs("done\n", out);
    if (fclose(out)) die("cannot write what was counted");
}

// Returns 0, or -1 where the argument tells no caches.
static int make_caches(const char *argument) {
    uint64_t kib[2], ways[2];
    const char *form = "cache=%" SCNu64 ":%" SCNu64 ":%" SCNu64 ":%" SCNu64;
    if (sscanf(argument, form, &kib[0], &ways[0], &kib[1], &ways[1]) != 4) return -1;
    has_caches = true;
    return cache_init(&second_cache, kib[1], ways[1], NULL) || cache_init(&first_cache, kib[0], ways[0], &second_cache);
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv) {
    (void)info;
    if (argc < 1 || argc > 2 || strncmp(argv[0], "out=", 4) || (argc == 2 && make_caches(argv[1]))) {
        fputs("count plugin: it takes out=FILE, and cache=K:W:K:W\n", stderr);
        return -1;
    }
    out = fopen(argv[0] + 4, "w");
    if (!out) {
        perror("count plugin");
        return -1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    qemu_plugin_register_vcpu_syscall_cb(id, on_syscall);
    qemu_plugin_register_atexit_cb(id, on_exit_of_program, NULL);
    return 0;
}
