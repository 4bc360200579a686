# SPDX-License-Identifier: GPL-3.0-or-later
# Completion of mroscope for bash, and for zsh after bashcompinit: verbs, and options as the program's help lists them.
_mroscope()
{
    local word=${COMP_WORDS[COMP_CWORD]} program=${COMP_WORDS[0]/#\~/"$HOME"} words=
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        words=$("$program" --help 2>/dev/null | sed -n '/^Verbs$/,/^$/s/^  \([a-z]*\) .*/\1/p')
    elif [[ $word == -* ]]; then
        words=$("$program" "${COMP_WORDS[1]}" --help 2>/dev/null | grep -oE '^  (-.,|   ) --[a-z-]+' | grep -oE -- '--[a-z-]+')
    fi
    # shellcheck disable=SC2207 # neither verbs nor options have blanks
    [ -n "$words" ] && COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -o default -F _mroscope mroscope
