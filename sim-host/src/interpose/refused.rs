//! What a machine need not have, and programs have another way for: refused by the error that says so.

use std::ffi::c_int;

use super::answer;
use crate::hosting::baton::hosted;
use crate::hosting::real::forward;

macro_rules! refuses {
    ($($function:ident $name:literal $error:ident;)*) => {$(
        #[unsafe(no_mangle)]
        pub(super) unsafe extern "C" fn $function(a: usize, b: usize, c: usize, d: usize, e: usize, f: usize) -> c_int {
            if hosted() {
                return answer(Err::<c_int, _>(libc::$error)) as c_int;
            }
            forward!($name as fn(usize, usize, usize, usize, usize, usize) -> isize, a, b, c, d, e, f) as c_int
        }
    )*};
}

refuses! {
    sethostname c"sethostname" EPERM;
    setdomainname c"setdomainname" EPERM;
    sethostid c"sethostid" EPERM;
    adjtimex c"adjtimex" EPERM;
    clock_adjtime c"clock_adjtime" EPERM;
    ntp_adjtime c"ntp_adjtime" EPERM;
    reboot c"reboot" EPERM;
    swapon c"swapon" EPERM;
    swapoff c"swapoff" EPERM;
    acct c"acct" EPERM;
    klogctl c"klogctl" EPERM;
    tcgetattr c"tcgetattr" ENOTTY;
    tcsetattr c"tcsetattr" ENOTTY;
    sockatmark c"sockatmark" EINVAL;
}

/// Extended attributes: a volume has none. Their sizes are answered as a long.
macro_rules! has_no_attributes {
    ($($function:ident $name:literal;)*) => {$(
        #[unsafe(no_mangle)]
        pub(super) unsafe extern "C" fn $function(a: usize, b: usize, c: usize, d: usize, e: usize) -> isize {
            if hosted() {
                return answer(Err::<isize, _>(libc::ENOTSUP));
            }
            forward!($name as fn(usize, usize, usize, usize, usize) -> isize, a, b, c, d, e)
        }
    )*};
}

has_no_attributes! {
    setxattr c"setxattr";
    lsetxattr c"lsetxattr";
    fsetxattr c"fsetxattr";
    getxattr c"getxattr";
    lgetxattr c"lgetxattr";
    fgetxattr c"fgetxattr";
    listxattr c"listxattr";
    llistxattr c"llistxattr";
    flistxattr c"flistxattr";
    removexattr c"removexattr";
    lremovexattr c"lremovexattr";
    fremovexattr c"fremovexattr";
}
