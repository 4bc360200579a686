/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "io/xml.h"

#include <ctype.h>
#include <expat.h>
#include <stdio.h>
#include <string.h>

enum { MAX_DEPTH = 32 };

struct walk {
    XML_Parser parser;
    const struct mro_xml_hooks *hooks;
    void *context;
    char path[512], text[1024];
    size_t length[MAX_DEPTH]; /* of the path before each element */
    size_t depth, skipped;    /* skipped: levels below one that is not told */
    size_t path_n, text_n;
    bool entities;
};

static const char *local_name(const char *name)
{
    const char *colon = strrchr(name, ':');
    return colon ? colon + 1 : name;
}

static void XMLCALL on_begin(void *user, const char *name, const char **attributes)
{
    struct walk *w = user;
    const size_t n = strlen(name = local_name(name));
    if (w->skipped || w->depth == MAX_DEPTH || w->path_n + n + 2 > sizeof w->path) {
        w->skipped++;
        return;
    }
    w->length[w->depth++] = w->path_n;
    if (w->path_n) w->path[w->path_n++] = '/';
    memcpy(w->path + w->path_n, name, n + 1);
    w->path_n += n;
    w->text_n = 0;
    if (w->hooks->begin) w->hooks->begin(w->context, w->path, (const char *const *)attributes);
}

static void XMLCALL on_end(void *user, const char *name)
{
    struct walk *w = user;
    (void)name;
    if (w->skipped) {
        w->skipped--;
        return;
    }
    const char *text = w->text;
    while (w->text_n && isspace((unsigned char)w->text[w->text_n - 1])) w->text_n--;
    w->text[w->text_n] = '\0';
    while (isspace((unsigned char)*text)) text++;
    if (w->hooks->end) w->hooks->end(w->context, w->path, text);
    w->path_n = w->length[--w->depth];
    w->path[w->path_n] = '\0';
    w->text_n = 0;
}

static void XMLCALL on_text(void *user, const char *text, int n)
{
    struct walk *w = user;
    const size_t left = sizeof w->text - 1 - w->text_n;
    if (w->skipped) return;
    const size_t take = (size_t)n < left ? (size_t)n : left;
    memcpy(w->text + w->text_n, text, take);
    w->text_n += take;
}

static void XMLCALL on_entity(void *user, const char *name, int is_parameter, const char *value, int value_n,
                              const char *base, const char *system, const char *public, const char *notation)
{
    struct walk *w = user;
    (void)name, (void)is_parameter, (void)value, (void)value_n, (void)base, (void)system, (void)public, (void)notation;
    w->entities = true;
    XML_StopParser(w->parser, XML_FALSE);
}

/* Whether bytes above 127 are UTF-8 as far as a glance tells: texts of old programs are Latin-1 and say nothing. */
static bool is_utf8(const unsigned char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i] < 0x80) continue;
        size_t more = p[i] >= 0xf0 ? 3 : p[i] >= 0xe0 ? 2 : 1;
        if (p[i] < 0xc2 || p[i] > 0xf4 || n - i <= more) return false;
        while (more--)
            if ((p[++i] & 0xc0) != 0x80) return false;
    }
    return true;
}

bool mro_xml_walk(const char *text, size_t n, const struct mro_xml_hooks *hooks, void *context, char *why, size_t room)
{
    struct walk w = { .hooks = hooks, .context = context };
    if (why && room) why[0] = '\0';
    const bool wide = n >= 2 && (memcmp(text, "\xff\xfe", 2) == 0 || memcmp(text, "\xfe\xff", 2) == 0); /* UTF-16 */
    while (wide && n >= 4 && text[n - 1] == '\0' && text[n - 2] == '\0') n -= 2;
    while (!wide && n && (text[n - 1] == '\0' || text[n - 1] == '\1' || isspace((unsigned char)text[n - 1]))) n--;
    while (!wide && n && isspace((unsigned char)*text))
        text++, n--; /* white space before the declaration is an error */
    if (n > MRO_XML_MAX_BYTES) {
        if (why) snprintf(why, room, "it is longer than %zu MiB", MRO_XML_MAX_BYTES >> 20);
        return false;
    }
    /* What the declaration says of 8-bit text is not asked: texts that a program had in UTF-16 keep saying so. */
    w.parser = XML_ParserCreate(wide ? NULL : is_utf8((const unsigned char *)text, n) ? "UTF-8" : "ISO-8859-1");
    if (w.parser == NULL) {
        if (why) snprintf(why, room, "no memory is left to read it");
        return false;
    }
    XML_SetUserData(w.parser, &w);
    XML_SetElementHandler(w.parser, on_begin, on_end);
    XML_SetCharacterDataHandler(w.parser, on_text);
    XML_SetEntityDeclHandler(w.parser, on_entity);
    XML_SetParamEntityParsing(w.parser, XML_PARAM_ENTITY_PARSING_NEVER);
    const bool ok = XML_Parse(w.parser, text, (int)n, XML_TRUE) == XML_STATUS_OK;
    if (!ok && why) {
        if (w.entities)
            snprintf(why, room, "it declares entities, which no metadata needs");
        else
            snprintf(why, room, "%s at line %lu", XML_ErrorString(XML_GetErrorCode(w.parser)),
                     (unsigned long)XML_GetCurrentLineNumber(w.parser));
    }
    XML_ParserFree(w.parser);
    return ok;
}

const char *mro_xml_attribute(const char *const *attributes, const char *name)
{
    for (; attributes[0] && attributes[1]; attributes += 2)
        if (strcmp(local_name(attributes[0]), name) == 0) return attributes[1];
    return NULL;
}
