# Sourced by the scripts beside it: what several of them need.

# Prints the name of a step; the time it took is printed by the next one or at the end.
step() {
  step_done
  step_name=$1
  step_began=$(date +%s)
  printf '\n== %s\n' "$step_name"
}

step_done() {
  [ -n "${step_name:-}" ] && printf '== %s: %s s\n' "$step_name" "$(($(date +%s) - step_began))"
  step_name=
}

# Installs Debian packages that are missing, as root or with sudo.
need_packages() {
  local missing=()
  local package
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} = 0 ] && return 0
  local sudo=
  [ "$(id -u)" = 0 ] || sudo=sudo
  echo "installing: ${missing[*]}"
  $sudo apt-get install -y --no-install-recommends "${missing[@]}" >/dev/null 2>&1 && return 0
  $sudo apt-get update -qq
  $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# Ends a process that this script started, and waits for it.
end() {
  local pid=${1:-}
  [ -n "$pid" ] || return 0
  kill "$pid" 2>/dev/null || return 0
  wait "$pid" 2>/dev/null || true
}

# Unmounts what this script mounted, however it was left.
unmount() {
  local dir=$1
  mountpoint -q "$dir" 2>/dev/null || stat "$dir" >/dev/null 2>&1 || true
  if grep -qs " $dir fuse" /proc/mounts; then
    umount "$dir" 2>/dev/null || fusermount3 -u "$dir" 2>/dev/null || umount -l "$dir" 2>/dev/null || true
  fi
}
