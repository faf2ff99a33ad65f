// SPDX-License-Identifier: MIT (its text stands in count.c)
//
// A simulated cache: set-associative, with write-allocation, where a new line takes the place of the one of its set that
// was used the longest ago. It prefetches nothing, and takes the program's addresses for those of the memory.

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_SHIFT = 6 };  // lines of 64 bytes

struct cache {
    uint64_t misses;
    uint64_t sets, ways;
    uint64_t *lines;     // of each set its lines, the one used last first; 0 where none is yet
    struct cache *next;  // what is asked for a line that is not here; NULL: the memory
};

// Returns 0, or -1 where there is no such cache or no memory for it.
static int cache_init(struct cache *cache, uint64_t kib, uint64_t ways, struct cache *next) {
    uint64_t lines = (kib << 10) >> LINE_SHIFT;
    if (!ways || !lines || lines % ways) return -1;
    *cache = (struct cache){0, lines / ways, ways, calloc(lines, sizeof(uint64_t)), next};
    return cache->lines ? 0 : -1;
}

// Looks a line up, by its address divided by its size.
static void cache_line(struct cache *cache, uint64_t line) {
    uint64_t *set = cache->lines + line % cache->sets * cache->ways;
    uint64_t way = 0, key = line + 1;  // 0 is no line
    while (way < cache->ways && set[way] != key) way++;
    if (way == cache->ways) {
        cache->misses++;
        if (cache->next) cache_line(cache->next, line);
        way--;
    }
    if (!way) return;
    memmove(set + 1, set, way * sizeof *set);
    set[0] = key;
}

// Looks up all lines that bytes lie in.
static void cache_access(struct cache *cache, uint64_t address, uint64_t bytes) {
    for (uint64_t line = address >> LINE_SHIFT; line <= (address + bytes - 1) >> LINE_SHIFT; line++)
        cache_line(cache, line);
}
