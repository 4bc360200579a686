/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "session/hashes.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "session/store.h"

#define SCHEMA "mroscope.inputs/1"

/* A file changed so shortly ago may be changed once more without its time telling. */
enum { SETTLED_SECONDS = 2 };

static json_t *files_of(const char *path)
{
    json_t *v = mro_store_read(path), *files = json_object_get(v, "files");
    const char *schema = json_string_value(json_object_get(v, "schema"));
    json_t *found = schema && strcmp(schema, SCHEMA) == 0 && json_is_object(files) ? json_incref(files) : json_object();
    json_decref(v);
    return found;
}

void mro_hashes_read(struct mro_hashes *h, const char *path) { h->files = files_of(path); }

void mro_hashes_release(struct mro_hashes *h)
{
    json_decref(h->files);
    h->files = NULL;
}

bool mro_hashes_find(const struct mro_hashes *h, const char *name, const struct mro_manifest_row *r, char hex[65])
{
    const json_t *v = json_object_get(h->files, name);
    const char *sum = json_string_value(json_array_get(v, 3));
    if (sum == NULL || strlen(sum) != 64 || (uint64_t)json_integer_value(json_array_get(v, 0)) != r->size ||
        (int64_t)json_integer_value(json_array_get(v, 1)) != r->mtime_ns ||
        (uint64_t)json_integer_value(json_array_get(v, 2)) != r->inode)
        return false;
    memcpy(hex, sum, 65);
    return true;
}

void mro_hashes_note(struct mro_hashes *h, const char *name, const struct mro_manifest_row *r, const char *hex)
{
    if (time(NULL) - (time_t)(r->mtime_ns / 1000000000) < SETTLED_SECONDS) return;
    json_t *v = json_pack("[I,I,I,s]", (json_int_t)r->size, (json_int_t)r->mtime_ns, (json_int_t)r->inode, hex);
    if (v) json_object_set_new(h->files, name, v); /* a name that is no UTF-8 is not kept */
}

static int by_name(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

enum mro_code mro_hashes_write(struct mro_hashes *h, const char *path, struct mro_error *e)
{
    json_t *all = files_of(path), *sorted = json_object(), *v;
    const char *name;
    size_t n = 0;
    json_object_update(all, h->files);
    json_decref(h->files);
    h->files = all;
    const char **names = malloc((json_object_size(all) + 1) * sizeof *names);
    json_object_foreach(all, name, v)
    {
        if (names) names[n++] = name;
    }
    if (names) qsort(names, n, sizeof *names, by_name);
    for (size_t i = 0; i < n; i++) json_object_set(sorted, names[i], json_object_get(all, names[i]));
    free(names);
    v = json_pack("{s:s,s:o}", "schema", SCHEMA, "files", sorted);
    const enum mro_code rc = mro_store_write(path, v, e);
    json_decref(v);
    return rc;
}
