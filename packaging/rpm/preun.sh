# shellcheck shell=sh
# Removed, not upgraded. `systemctl disable` takes no pattern, so that instances are named.
if [ "$1" = 0 ]; then
    if [ -d /run/systemd/system ]; then
        systemctl disable --now scenetap.service || :
        systemctl stop 'scenetap@*.service' || :
    fi
    rm -f /etc/systemd/system/*.wants/scenetap.service /etc/systemd/system/*.wants/scenetap@*.service
fi
exit 0
