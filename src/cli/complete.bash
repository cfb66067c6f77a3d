# Completion of scenetap in bash: asks the program at each TAB.
_scenetap() {
    # bash splits words at = and : (COMP_WORDBREAKS), and replaces only the last part.
    local words=() word line=$COMP_LINE current=0 i
    for i in "${!COMP_WORDS[@]}"; do
        word=${COMP_WORDS[i]}
        if ((i > 0)) && [[ $line != [[:space:]]* ]]; then
            words[${#words[@]}-1]+=$word
        else
            words+=("$word")
        fi
        line=${line#"${line%%[![:space:]]*}"}
        line=${line#"$word"}
        ((i == COMP_CWORD)) && { current=$((${#words[@]} - 1)); break; }
    done
    local part=${COMP_WORDS[COMP_CWORD]}
    [[ $part == [=:] ]] && part=""
    # As the program would get them: without quotes and backslashes.
    for i in "${!words[@]}"; do
        words[i]=${words[i]//[\"\'\\]/}
    done
    part=${part//[\"\'\\]/}
    local before=${words[current]%"$part"} candidates
    compopt +o nospace 2>/dev/null
    candidates=$(_CLAP_IFS=$'\n' _CLAP_COMPLETE_INDEX=$current _CLAP_COMPLETE_COMP_TYPE=${COMP_TYPE:-9} \
        _CLAP_COMPLETE_SPACE=true VARIABLE=bash scenetap -- "${words[@]}" 2>/dev/null) || return
    COMPREPLY=()
    while IFS= read -r word; do
        [[ -n $word ]] && COMPREPLY+=("${word#"$before"}")
    done <<<"$candidates"
    if [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *[=:/] ]]; then
        compopt -o nospace 2>/dev/null
    fi
    # Quotes what a shell would split or expand.
    if [[ ${COMPREPLY[*]} == *[!A-Za-z0-9_./=:,+@%\ -]* || $candidates == *" "* ]]; then
        compopt -o filenames 2>/dev/null
    fi
}
complete -o bashdefault -F _scenetap scenetap
