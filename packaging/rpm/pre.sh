# shellcheck shell=sh
getent group scenetap >/dev/null || groupadd --system scenetap
getent passwd scenetap >/dev/null || useradd --system --gid scenetap --no-create-home \
    --home-dir /var/lib/scenetap --shell /sbin/nologin --comment "scenetap recorder" scenetap
exit 0
