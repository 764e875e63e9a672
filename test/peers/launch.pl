# Opens each TAP inside its network namespace, sets its host side up, goes back to where it came
# from and becomes qemu with the descriptors open (their numbers put for @FD0@, @FD1@ ...). Perl:
# part of every Debian, and it can call setns.
#   launch.pl COUNT [NAMESPACE-FILE TAP MTU ADDRESS,ADDRESS...] x COUNT  QEMU ARGUMENT...
use strict;
$^F = 1000;                                     # keep the descriptors over exec
syscall 112;                                    # setsid: no terminal signals
my ($SETNS, $NEWNET, $TUNSETIFF) = (308, 0x40000000, 0x400454ca);
my ($TAP, $NO_PI) = (0x0002, 0x1000);
my $count = shift;
my (@fd, @keep);
open my $home, "<", "/proc/self/ns/net" or die "own namespace: $!\n";
for (1 .. $count) {
  my ($namespace, $device, $mtu, $addresses) = splice @ARGV, 0, 4;
  open my $there, "<", $namespace or die "namespace $namespace: $!\n";
  syscall($SETNS, fileno $there, $NEWNET) == 0 or die "setns $namespace: $!\n";
  close $there;
  open my $tap, "+<", "/dev/net/tun" or die "/dev/net/tun: $!\n";
  my $request = pack "a16 S x22", $device, $TAP | $NO_PI;
  ioctl $tap, $TUNSETIFF, $request or die "TUNSETIFF $device: $!\n";
  my $ip = sub { local $^F = 2; system("ip", @_) == 0 or die "ip @_ failed\n" };
  $ip->("link", "set", $device, "mtu", $mtu);
  $ip->("addr", "replace", $_, "dev", $device, /:/ ? "nodad" : ()) for split /,/, $addresses;
  $ip->("link", "set", $device, "up");
  push @fd, fileno $tap;
  push @keep, $tap;
  syscall($SETNS, fileno $home, $NEWNET) == 0 or die "setns back: $!\n";
}
close $home;
s/\@FD(\d+)\@/$fd[$1]/g for @ARGV;
exec { $ARGV[0] } @ARGV;
die "exec $ARGV[0]: $!\n";
