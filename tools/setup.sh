#!/bin/sh
# Makes .venv from the lock. uv is installed into the environment itself, so that nothing of the
# machine is touched and one version is used by all.
set -eu
cd "$(dirname "$0")/.."

python=""
for candidate in python3.13 python3.12 python3.11 python3; do
    if command -v "$candidate" >/dev/null 2>&1 &&
        "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    echo "make: Python 3.11 or newer is needed and was not found; on Debian: apt-get install python3" >&2
    exit 2
fi

if [ ! -x .venv/bin/uv ]; then
    echo "make: creating .venv with $($python --version)"
    # Debian splits ensurepip off into python3-venv; a pip outside can fill an environment without it.
    if "$python" -m venv --clear .venv 2>/dev/null; then
        .venv/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.8'
    elif "$python" -m venv --clear --without-pip .venv 2>/dev/null &&
        "$python" -m pip --python .venv/bin/python install --quiet 'uv>=0.8' 2>/dev/null; then
        :
    elif [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null
        "$python" -m venv --clear .venv
        .venv/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.8'
    else
        echo "make: $python has neither venv nor pip; install them: sudo apt-get install python3-venv" >&2
        exit 2
    fi
fi
# uv trusts the certificates that it carries; behind a company's proxy the machine's own are the right ones.
sync() { .venv/bin/uv sync --quiet --frozen --all-extras; }
sync 2>/dev/null || UV_SYSTEM_CERTS=true sync
