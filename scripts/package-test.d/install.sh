# Part of scripts/package-test: installs the package with what it depends on, and looks at what came.
set -euo pipefail
apt-get update -qq
apt-get install -y -qq /root/fichierfs.deb >/dev/null
dpkg --verify fichierfs
fichierfs --version
for helper in mount.fichierfs mount.fuse.fichierfs umount.fuse.fichierfs; do
  [ "$(readlink -f /sbin/$helper)" = /usr/bin/fichierfs ]
done
for page in man1/fichierfs.1 man1/fichierfs-mount.1 man8/mount.fichierfs.8; do
  gzip -t "/usr/share/man/$page.gz" || [ ! -e /usr/share/man/man1 ]
done
bash -n /usr/share/bash-completion/completions/fichierfs
# Not what a mount needs, but what is tested below.
apt-get install -y -qq --no-install-recommends systemd systemd-sysv dbus libpam-systemd >/dev/null
