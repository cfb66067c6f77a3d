# shellcheck shell=sh
# Recordings are never deleted: /var/lib/scenetap stays, and the user who owns it.
[ -d /run/systemd/system ] || exit 0
systemctl daemon-reload || :
if [ "$1" != 0 ]; then
    # Upgraded: recorders resume their sessions.
    systemctl try-restart scenetap.service 'scenetap@*.service' || :
fi
exit 0
