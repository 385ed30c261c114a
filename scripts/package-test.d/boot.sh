# Part of scripts/package-test: the first start of that Debian, with systemd as its first process.
set -euo pipefail
trap 'echo "failed in line $LINENO" >&2' ERR
fail() { echo "$1" >&2; exit 1; }
same() { [ "$2" = "$3" ] || { echo "$1: '$2', not '$3'" >&2; exit 1; }; }
until_true() {
  for _ in $(seq 600); do "$@" >/dev/null 2>&1 && return; sleep 0.1; done
  echo "not within a minute: $*" >&2
  exit 1
}
served() { systemctl show -P MainPID fichierfs@work; }
work=fichierfs@work

rm -rf /etc/fichierfs
mkdir -pm700 /etc/fichierfs; mkdir -p "/etc/systemd/system/fichierfs@.service.d"
printf '[account.work]\napi-url = "%s"\nallow-other = true\n' "$API_URL" >/etc/fichierfs/config.toml
printf '[Service]\nEnvironment=FICHIERFS_CLOCK=%s\n' "${FICHIERFS_CLOCK:-}" \
  >"/etc/systemd/system/fichierfs@.service.d/test.conf"
systemctl daemon-reload

echo "-- without a key it says what is missing"
if systemctl start $work 2>/dev/null; then fail "it started without a key"; fi
journalctl -u $work | grep -q 'fichierfs login'
systemctl stop $work
systemctl reset-failed $work 2>/dev/null || true
printf %s "$KEY" | fichierfs login --account work

echo "-- started, and seen by everybody"
systemctl enable --now $work 2>/dev/null
same active "$(systemctl is-active $work)" active
same mounted "$(findmnt -n -o SOURCE,FSTYPE --mountpoint /mnt/work)" "fichierfs:work fuse.fichierfs"
same "another user" "$(setpriv --reuid=nobody --clear-groups --regid=nogroup stat -c %F /mnt/work)" directory
systemctl show -P StatusText $work | grep -q 'account work at /mnt/work'
grep -q 'NoNewPrivs:.*1' "/proc/$(served)/status"
# The key came as a credential, and stands in no environment.
journalctl -u $work | grep -q 'key from credential'
if tr '\0' '\n' <"/proc/$(served)/environ" | grep -q "$KEY"; then fail "the key stands in the environment"; fi
systemctl reload $work

echo "-- the end uploads what was written"
head -c 20000000 /dev/urandom >/mnt/work/random
sha256sum </mnt/work/random >/root/sum
systemctl stop $work
same result "$(systemctl show -P Result $work)" success
same staged "$(find /var/lib/fichierfs/work/staging -type f | wc -l)" 0
rm -rf /var/lib/fichierfs/work /var/cache/fichierfs/work
systemctl start $work
sha256sum </mnt/work/random | cmp - /root/sum

echo "-- killed, it comes again"
before=$(served)
kill -KILL "$before"
until_true sh -c "[ \"\$(systemctl show -P MainPID $work)\" != 0 ] && [ \"\$(systemctl show -P MainPID $work)\" != $before ]"
until_true stat /mnt/work/random

echo "-- hung, it is killed by the watchdog and comes again"
printf '[Service]\nWatchdogSec=4\n' >"/etc/systemd/system/fichierfs@.service.d/watchdog.conf"
systemctl daemon-reload
systemctl restart $work
# Alive for twice the span: it beats.
before=$(served)
sleep 8
same beats "$(served)" "$before"
kill -STOP "$before"
until_true sh -c "journalctl -u $work | grep -q 'Watchdog timeout'"
until_true sh -c "[ \"\$(systemctl show -P MainPID $work)\" != 0 ] && [ \"\$(systemctl show -P MainPID $work)\" != $before ]"
until_true stat /mnt/work/random
rm "/etc/systemd/system/fichierfs@.service.d/watchdog.conf"
systemctl daemon-reload
systemctl stop $work

echo "-- a user's own"
# As udev makes it; here it came with the permissions of the machine around.
umount /dev/fuse && rm -f /dev/fuse && mknod -m 666 /dev/fuse c 10 229
useradd --create-home --uid 1234 me
systemctl start user@1234
as_me() { runuser -u me -- env XDG_RUNTIME_DIR=/run/user/1234 HOME=/home/me "$@"; }
as_me mkdir -p /home/me/.config/fichierfs
printf 'api-url = "%s"\n' "$MY_URL" | as_me tee /home/me/.config/fichierfs/config.toml >/dev/null
printf %s "$MY_KEY" | as_me fichierfs login --account mine
as_me mkdir -p "/home/me/.config/systemd/user/fichierfs@.service.d"
as_me cp "/etc/systemd/system/fichierfs@.service.d/test.conf" "/home/me/.config/systemd/user/fichierfs@.service.d/"
as_me systemctl --user daemon-reload
as_me systemctl --user enable --now fichierfs@mine
same mounted "$(as_me findmnt -n -o SOURCE,FSTYPE --mountpoint /home/me/mine)" "fichierfs:mine fuse.fichierfs"
as_me sh -c 'echo mine >/home/me/mine/file'
as_me systemctl --user stop fichierfs@mine
same staged "$(find /home/me/.local/state/fichierfs/mine/staging -type f | wc -l)" 0
systemctl stop user@1234

echo "-- an fstab line with automount"
fichierfs fstab -q --automount work /mnt/two >>/etc/fstab
systemctl daemon-reload
if ! systemctl start mnt-two.automount 2>/dev/null; then
  echo "!!! SKIPPED: no autofs in this kernel or container; mounted by its unit instead !!!"
  systemctl start mnt-two.mount
fi
sha256sum </mnt/two/random | cmp - /root/sum
head -c 5000000 /dev/urandom >/mnt/two/last
sha256sum </mnt/two/last >/root/last
systemctl stop mnt-two.automount mnt-two.mount 2>/dev/null
if mountpoint -q /mnt/two; then fail "it is still mounted"; fi
same staged "$(find /var/lib/fichierfs/work/staging -type f | wc -l)" 0
sed -i /fichierfs/d /etc/fstab
systemctl daemon-reload
echo "first start: good"
