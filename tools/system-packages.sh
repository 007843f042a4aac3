#!/bin/sh
# What the tests need and only apt can give, as COMMAND=PACKAGE: promtool, to hold the rule files against
# Prometheus itself; npm, whose packages carry Postgres 13 to 18; openssl, to make certificates; buildah and runc,
# to build and run the image without a daemon; chromium, to see the page on a telephone.
# As root it is installed; otherwise the command is named, and CI fails where a person's run skips.
set -eu
missing=""
for part in promtool=prometheus prometheus-alertmanager=prometheus-alertmanager npm=npm openssl=openssl buildah=buildah runc=runc chromium=chromium; do
    command -v "${part%=*}" >/dev/null 2>&1 || missing="$missing ${part#*=}"
done
# The image's base is made of this machine's own Python; the module has no command to look for.
[ ! -d /var/lib/dpkg/info ] || [ -e /var/lib/dpkg/info/python3-venv.list ] || missing="$missing python3-venv"
[ -n "$missing" ] || exit 0
install="apt-get install -y --no-install-recommends$missing"
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "make: installing what the tests need ($install)"
    # The services are not wanted, and there may be no init to start them: a policy says so to dpkg.
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
    echo "make: parts are missing, their tests will be skipped; install them: sudo $install" >&2
fi
