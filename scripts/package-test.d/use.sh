# Part of scripts/package-test: what a person does after the installation.
set -euo pipefail
same() { [ "$2" = "$3" ] || { echo "$1: '$2', not '$3'" >&2; exit 1; }; }
shown() { findmnt -n -o SOURCE,FSTYPE --mountpoint "$1" || true; }
serving() { grep -lsae "[-]-detached" /proc/[0-9]*/cmdline || true; }
sums() { (cd "$1" && find . -type f -print0 | sort -z | xargs -0 sha256sum); }
ended() {
  for _ in $(seq 400); do [ -z "$(serving)" ] && return; sleep 0.05; done
  echo "the process has not ended: $(serving)" >&2
  exit 1
}

mkdir -p /etc/fichierfs /mnt/one /mnt/two
printf '[account.work]\napi-url = "%s"\n' "$API_URL" >/etc/fichierfs/config.toml
printf %s "$KEY" | fichierfs login --account work

echo "-- mount -t fichierfs"
mount -t fichierfs work /mnt/one
same mounted "$(shown /mnt/one)" "fichierfs:work fuse.fichierfs"
mkdir -p "/mnt/one/some folder"
cp -r /usr/share/doc/fichierfs/. "/mnt/one/some folder"
head -c 20000000 /dev/urandom >/mnt/one/random
sums /mnt/one >/root/sums
umount /mnt/one
same gone "$(shown /mnt/one)" ""
ended

echo "-- an fstab line"
# Nothing is known here any more but when the service was called: what is read comes from the account.
rm -rf /var/lib/fichierfs/work /var/cache/fichierfs
fichierfs fstab work /mnt/two >>/etc/fstab
cat /etc/fstab
findmnt --verify >/root/verify || { cat /root/verify >&2; exit 1; }
mount -a
same mounted "$(shown /mnt/two)" "fichierfs:work fuse.fichierfs"
sums /mnt/two >/root/sums-again
cmp /root/sums /root/sums-again
mount -a
same once "$(shown /mnt/two | wc -l)" 1
head -c 5000000 /dev/urandom >/mnt/two/last
sha256sum </mnt/two/last >/root/last
umount /mnt/two
# It waits for the uploads: all is done when it returns.
same ended "$(serving)" ""
rm -rf /var/lib/fichierfs/work /var/cache/fichierfs
mount /mnt/two
sha256sum </mnt/two/last | cmp - /root/last
umount /mnt/two
sed -i /fichierfs/d /etc/fstab

echo "-- systemd-analyze verify"
# verify asks for the manual pages, too; a minimal system has no man(1).
for kind in system user; do
  XDG_RUNTIME_DIR=/run systemd-analyze "--$kind" --man=no verify \
    "/usr/lib/systemd/$kind/fichierfs@.service" >/root/verify 2>&1 || { cat /root/verify >&2; exit 1; }
  grep fichierfs /root/verify && exit 1
done
echo "clean"
