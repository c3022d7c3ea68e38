#!/usr/bin/env bash
# Installs what the tests need beside Python packages: Chromium, a Chinese font, a Java runtime.
# Without root, sudo that asks nothing, or apt-get, it installs nothing and says which tests will be skipped;
# those tests name the command that enables them. It never fails: the tests decide.
set -uo pipefail

missing=()
command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null ||
    missing+=(chromium)
[ -n "$(fc-list :lang=zh 2>/dev/null)" ] || missing+=(fontconfig fonts-wqy-zenhei)
java -version >/dev/null 2>&1 || missing+=(default-jre-headless)
[ ${#missing[@]} -gt 0 ] || exit 0

if ! command -v apt-get >/dev/null; then
    echo "Tests that need ${missing[*]} will be skipped: no apt-get here to install them."
    exit 0
fi
root=()
if [ "$(id -u)" -ne 0 ]; then
    root=(sudo -n)
    if ! sudo -n true 2>/dev/null; then
        echo "Tests that need ${missing[*]} will be skipped. To enable them:"
        echo "    sudo apt-get update && sudo apt-get install --no-install-recommends ${missing[*]}"
        exit 0
    fi
fi
echo "Installing ${missing[*]} for the tests."
export DEBIAN_FRONTEND=noninteractive
if ! { "${root[@]}" apt-get update -qq && "${root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}"; }; then
    echo "apt-get failed (see above): tests that need ${missing[*]} will be skipped."
fi
