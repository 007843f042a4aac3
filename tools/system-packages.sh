#!/bin/sh
# What the tests need and only apt can give: promtool, to hold the rule files against Prometheus itself.
# As root it is installed; otherwise the command is named, and CI fails where a person's run skips.
set -eu
command -v promtool >/dev/null 2>&1 && exit 0
install="apt-get install -y --no-install-recommends prometheus"
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "make: installing promtool ($install)"
    # The service is not wanted, and there may be no init to start it: a policy says so to dpkg.
    policy=/usr/sbin/policy-rc.d
    made=""
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy" && made=yes
    fi
    export DEBIAN_FRONTEND=noninteractive
    log=$(mktemp)
    { apt-get update -qq && $install; } >"$log" 2>&1 || { cat "$log" >&2; [ -z "$made" ] || rm -f "$policy"; exit 2; }
    rm -f "$log"
    [ -z "$made" ] || rm -f "$policy"
else
    echo "make: promtool is missing, its tests will be skipped; install it: sudo $install" >&2
fi
