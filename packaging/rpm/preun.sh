# shellcheck shell=sh
# $1 is 0 at a removal, not at an upgrade. `systemctl disable` accepts no pattern, so remove the links.
if [ "$1" = 0 ]; then
    if [ -d /run/systemd/system ]; then
        systemctl disable --now scenetap.service || :
        systemctl stop 'scenetap@*.service' || :
    fi
    rm -f /etc/systemd/system/*.wants/scenetap.service /etc/systemd/system/*.wants/scenetap@*.service
fi
exit 0
