# Sourced by bin/quickstart, bin/test and bin/lint, which set $root. POSIX sh.
#
# need_venv SET    sets $venv_python to a Python that has what the SET needs, or ends the script with one line that
#                  says what is missing. The work is in ensure_venv.py; this finds a Python to run it.
# PYTHON=...       in the environment names the Python to try first.

unset PYTHONHOME PYTHONPATH

say() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
}

# A pyenv shim exists and fails, and `python` may be Python 2: only running it tells.
is_python() {
    command -v "$1" >/dev/null 2>&1 &&
        "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' >/dev/null 2>&1 </dev/null
}

need_venv() {
    set -- "$1" "${PYTHON:-}" python3.14 python3.13 python3.12 python3.11 python3 python \
        "${PYENV_ROOT:-${HOME:-/nonexistent}/.pyenv}"/versions/3.1[1-4]*/bin/python3
    venv_set=$1
    shift
    first_python=
    for candidate in "$@"; do
        [ -n "$candidate" ] && is_python "$candidate" || continue
        first_python=${first_python:-$candidate}
        venv_status=0
        venv_python=$("$candidate" -I "$root/bin/lib/ensure_venv.py" "$root" "$venv_set" "${0##*/}") ||
            venv_status=$?
        case $venv_status in
            0) return 0 ;;
            10) continue ;; # this Python cannot make virtual environments; another may
            *) exit "$venv_status" ;;
        esac
    done
    if [ -z "$first_python" ]; then
        say "Python 3.11 to 3.14 is needed and not found (Debian, Ubuntu: apt-get install python3 python3-venv)"
    else
        minor=$("$first_python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        say "$first_python cannot make virtual environments (Debian, Ubuntu: apt-get install python$minor-venv)"
    fi
    exit 3
}
