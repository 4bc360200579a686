/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The files of report/page, which the build makes arrays of (report/page/embed.cmake). No zero at the end. */
#ifndef MRO_REPORT_PAGE_TEXT_H
#define MRO_REPORT_PAGE_TEXT_H

#include <stddef.h>

extern const unsigned char mro_page_html[], mro_page_css[], mro_page_js[];
extern const size_t mro_page_html_size, mro_page_css_size, mro_page_js_size;

#endif
