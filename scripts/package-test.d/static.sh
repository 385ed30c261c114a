# Part of scripts/package-test: the static program, where no package of it is installed.
set -euo pipefail
tar -C /root -xzf /root/static.tar.gz
cd /root/fichierfs-*-linux-musl
./install
fichierfs --version
mkdir -p /etc/fichierfs /mnt/one
printf '[account.work]\napi-url = "%s"\n' "$SOLO_URL" >/etc/fichierfs/config.toml
printf %s "$SOLO_KEY" | fichierfs login --account work
mount -t fichierfs -o _netdev work /mnt/one
findmnt -n --mountpoint /mnt/one
head -c 3000000 /dev/urandom >/mnt/one/static
sha256sum </mnt/one/static >/root/static
umount /mnt/one
# What is read now comes from the account.
rm -rf /var/lib/fichierfs/work /var/cache/fichierfs
mount -t fichierfs -o _netdev work /mnt/one
sha256sum </mnt/one/static | cmp - /root/static
umount /mnt/one
[ -z "$(grep -lsae "[-]-detached" /proc/[0-9]*/cmdline)" ]
./install --remove
[ ! -e /sbin/mount.fichierfs ]
