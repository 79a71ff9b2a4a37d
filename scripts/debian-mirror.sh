#!/usr/bin/env bash
# Prints the Debian archive that this machine's own apt uses, so that no host name stands in the project.
# usage: debian-mirror.sh [FOLDER]     FOLDER is /etc/apt unless given
# Exit 1 with nothing printed when apt has no archive whose path ends in /debian.
set -euo pipefail

folder=${1:-/etc/apt}

# deb822: paragraphs of "Key: value", where "Enabled: no" switches one off.
from_sources() {
  awk '
    function finish(   count, list, i) {
      if (types ~ /(^| )deb( |$)/ && enabled != "no") {
        count = split(uris, list, " ")
        for (i = 1; i <= count; i++) print list[i]
      }
      types = ""; uris = ""; enabled = ""
    }
    FNR == 1 { finish(); key = "" }
    /^#/ { next }
    /^[ \t]*$/ { finish(); key = ""; next }
    /^[ \t]/ { if (key == "uris") uris = uris " " $0; next }
    {
      key = tolower($0); sub(/:.*/, "", key)
      value = $0; sub(/^[^:]*:[ \t]*/, "", value); gsub(/[ \t]+/, " ", value); sub(/ $/, "", value)
      if (key == "types") types = value
      if (key == "uris") uris = value
      if (key == "enabled") enabled = tolower(value)
    }
    END { finish() }
  ' "$@"
}

# One line each: deb [options] URI suite components.
from_list() {
  awk '$1 == "deb" { line = $0; sub(/\[[^]]*\]/, "", line); split(line, part, /[ \t]+/); print part[2] }' "$@"
}

shopt -s nullglob
sources=("$folder"/sources.list.d/*.sources)
lists=()
[[ -f $folder/sources.list ]] && lists+=("$folder/sources.list")
lists+=("$folder"/sources.list.d/*.list)

{
  if ((${#sources[@]})); then from_sources "${sources[@]}"; fi
  if ((${#lists[@]})); then from_list "${lists[@]}"; fi
} | sed -nE 's#^((https?|file)://.*/debian)/?$#\1#p' | awk 'NR == 1 { print; found = 1 } END { exit !found }'
