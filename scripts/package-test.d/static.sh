# Part of scripts/package-test: the static program, where no package of it is installed.
set -euo pipefail
tar -C /root -xzf /root/static.tar.gz
cd /root/fichierfs-*-linux-musl
./install
fichierfs --version
mkdir -p /etc/fichierfs /mnt/one
printf '[account.work]\napi-url = "%s"\n' "$API_URL" >/etc/fichierfs/config.toml
printf %s "$KEY" | fichierfs login --account work
mount -t fichierfs -o _netdev work /mnt/one
# A name needs no C library to be looked up: the user of an option is one.
findmnt -n --mountpoint /mnt/one
sha256sum </mnt/one/last | cmp - /root/last
head -c 3000000 /dev/urandom >/mnt/one/static
umount /mnt/one
[ -z "$(grep -lsae "[-]-detached" /proc/[0-9]*/cmdline)" ]
./install --remove
[ ! -e /sbin/mount.fichierfs ]
