#!/bin/bash
# The steps of samples/reset-standby.toml as a careful shell script would take them: the yardstick of `make bench`.
# Everything comes by the environment: SSH (command line prefix), SOURCE and COPY and LIVE (datasets), BASE (snapshot),
# SNAP (new snapshot), PLACE (mount point of LIVE), PRIMARY and STANDBY (psql arguments), UPSTREAM, BIN, PORT, SOCKETS.
set -euo pipefail
# As reseed, it comes at night and leaves no connection behind.
trap '$SSH -q -O exit 2>/dev/null || :' EXIT
primary() { psql -XAtq -v ON_ERROR_STOP=1 $PRIMARY -c "$1"; }
standby() { psql -XAtq -v ON_ERROR_STOP=1 $STANDBY -c "$1" 2>/dev/null; }
pg_ctl() { runuser -u postgres -- "$BIN/pg_ctl" -s -w "$@"; }
# A file system in user space lets go of a mount some time after `zfs unmount` has returned.
patiently() { for _ in {1..400}; do "$@" 2>/dev/null && return; sleep 0.025; done; "$@"; }
slot=${SNAP//-/_}

primary "select pg_create_physical_replication_slot('$slot', true)" >/dev/null
primary checkpoint
$SSH zfs snapshot "$SOURCE@$SNAP"
lsn=$(primary "select pg_current_wal_insert_lsn()")
$SSH "zfs send ${BASE:+-i @$BASE} $SOURCE@$SNAP | zstd -q -3 -c" | zstd -q -d -c | zfs receive "$COPY"
zfs clone "$COPY@$SNAP" "$COPY-new"
zfs set readonly=off "$COPY-new"
zfs set canmount=noauto "$COPY-new"
zfs set mountpoint="$PLACE.new" "$COPY-new"
zfs mount "$COPY-new"
data=$PLACE.new/data
rm -rf "$data"/{postmaster.pid,postmaster.opts,backup_label*,pg_replslot/*,pg_dynshmem/*,pg_notify/*,pg_serial/*,pg_snapshots/*,pg_stat_tmp/*,pg_subtrans/*}
find "$data" -name 'pgsql_tmp*' -prune -exec rm -rf {} + -o -name 'pg_internal.init*' -exec rm -f {} +
: > "$data/standby.signal"
printf "port = %s\nunix_socket_directories = '%s'\nprimary_conninfo = '%s'\nprimary_slot_name = '%s'\n" \
  "$PORT" "$SOCKETS" "$UPSTREAM" "$slot" >> "$data/postgresql.auto.conf"
chown postgres: "$data/standby.signal"

if [ -n "${BASE:-}" ]; then
  pg_ctl stop -m fast -D "$PLACE/data"
  zfs set canmount=noauto "$LIVE"; zfs unmount "$LIVE"; patiently zfs rename "$LIVE" "$LIVE-old"
fi
zfs unmount "$COPY-new"; patiently zfs rename "$COPY-new" "$LIVE"
zfs set mountpoint="$PLACE" "$LIVE"; zfs set canmount=on "$LIVE"
mountpoint -q "$PLACE" || zfs mount "$LIVE"
pg_ctl start -l "$SOCKETS/log" -D "$PLACE/data"
good="select pg_is_in_recovery() and pg_last_wal_replay_lsn() >= '$lsn' and exists (select from pg_stat_wal_receiver where status = 'streaming')"
until [ "$(standby "$good")" = t ]; do sleep 0.02; done

if [ -n "${BASE:-}" ]; then
  patiently zfs destroy "$LIVE-old"; zfs destroy "$COPY@$BASE"; $SSH zfs destroy "$SOURCE@$BASE"
  primary "select pg_drop_replication_slot('${BASE//-/_}')" >/dev/null
fi
