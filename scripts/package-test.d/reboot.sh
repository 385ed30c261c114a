# Part of scripts/package-test: the second start. The mount is there by itself, and the machine's end waits
# for what was written a moment before.
set -euo pipefail
for _ in $(seq 600); do [ -e /mnt/work/last ] && break; sleep 0.1; done
sha256sum </mnt/work/last | cmp - /root/last
head -c 30000000 /dev/urandom >/mnt/work/at-the-end
echo "second start: good"
