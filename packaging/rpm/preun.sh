# shellcheck shell=sh
# Removed, not upgraded.
if [ "$1" = 0 ] && [ -d /run/systemd/system ]; then
    systemctl disable --now scenetap.service 'scenetap@*.service' || :
fi
exit 0
