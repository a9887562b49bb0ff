#!/bin/sh
# podman.sh v1|v2 CMD...
#
# Runs podman in a private mount namespace that shows it one version of cgroups only:
# its runtime refuses the mixture that many machines have.  v2 for containers, v1
# (without the memory controller) for `play kube`, which wants controllers to write to.
view=$1
shift
case $view in
v2) script='umount -l /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup; exec "$@"' ;;
v1) script='
  umount -l /sys/fs/cgroup
  mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
  for one in pids devices freezer cpu cpuacct cpuset blkio; do
    mkdir "/sys/fs/cgroup/$one"
    mount -t cgroup -o "$one" cgroup "/sys/fs/cgroup/$one"
  done
  mkdir /sys/fs/cgroup/systemd
  mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
  exec "$@"' ;;
esac
exec unshare --mount --propagation private sh -c "$script" podman "$@"
