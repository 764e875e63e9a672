#!/bin/busybox sh
# First program in the guest: mounts, drivers, then the agent takes over as pid 1.
/bin/busybox mount -t devtmpfs dev /dev
exec </dev/console >/dev/console 2>&1
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb
mount -t proc proc /proc
mount -t sysfs sys /sys
mkdir -p /dev/pts /dev/shm /run /tmp /var/run /var/lock /var/log/kp
mount -t devpts -o mode=0620,ptmxmode=0666 devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null
ln -sf /proc/self/fd /dev/fd
mkdir -p /dev/net                       # opening these loads their modules
mknod -m 600 /dev/ppp c 108 0
mknod -m 666 /dev/net/tun c 10 200
ln -sf /proc/self/mounts /etc/mtab
modprobe -a virtio_pci virtio_net virtio_console
ip link set lo up
# No surprises on the wire: no IPv6 DAD wait; reverse path filter off.
echo 0 >/proc/sys/net/ipv4/conf/all/rp_filter
echo 0 >/proc/sys/net/ipv4/conf/default/rp_filter
echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad
# PPTP helper assignment and plain forwarding are left to the test.
exec /usr/bin/perl /agent
