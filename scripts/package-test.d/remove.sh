# Part of scripts/package-test: the state is kept by a purge, and goes by hand.
set -euo pipefail
[ -n "$(find /var/lib/fichierfs -name primary.redb)" ]
dpkg --purge fichierfs
[ ! -e /etc/fichierfs ]
[ ! -e /var/cache/fichierfs ]
[ -n "$(find /var/lib/fichierfs -name primary.redb)" ]
rm -r /var/lib/fichierfs
rm -rf /run/fichierfs
# What the tests themselves left.
if id me >/dev/null 2>&1; then userdel --remove me 2>/dev/null; fi
rm -rf "/etc/systemd/system/fichierfs@.service.d"
