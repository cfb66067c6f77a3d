# shellcheck shell=sh
# $1 is the number of installed versions after this installation: 1 for the first one.
[ -d /run/systemd/system ] || exit 0
systemctl daemon-reload || :
if [ "$1" = 1 ]; then
    # The distribution's policy decides whether services are enabled.
    systemctl preset scenetap.service || :
fi
exit 0
