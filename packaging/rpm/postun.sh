# shellcheck shell=sh
# Never deletes recordings: /var/lib/scenetap and the user that owns it stay.
[ -d /run/systemd/system ] || exit 0
systemctl daemon-reload || :
if [ "$1" != 0 ]; then
    # An upgrade: restart the recorders, which resume their sessions.
    systemctl try-restart scenetap.service 'scenetap@*.service' || :
fi
exit 0
