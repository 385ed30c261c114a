# Part of scripts/package-test: the state is kept by a purge, and goes by hand.
set -euo pipefail
[ -n "$(find /var/lib/fichierfs -name primary.redb)" ]
dpkg --purge fichierfs
[ ! -e /etc/fichierfs ]
[ ! -e /var/cache/fichierfs ]
[ -n "$(find /var/lib/fichierfs -name primary.redb)" ]
rm -r /var/lib/fichierfs
rm -rf /run/fichierfs
