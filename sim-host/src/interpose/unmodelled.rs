//! What a hosted program might ask of the real machine and the simulation has no answer for: each ends the run by its name.

use crate::hosting::baton::hosted;
use crate::hosting::real::forward;
use crate::leak;
use crate::syscall::set_errno;

/// Functions whose arguments are integers and pointers, at most six; `$failed` is what they return with an error.
macro_rules! unmodelled {
    ($($function:ident $name:literal -> $failed:expr;)*) => {$(
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $function(a: usize, b: usize, c: usize, d: usize, e: usize, f: usize) -> isize {
            if hosted() {
                leak::unmodelled(stringify!($function));
                set_errno(libc::ENOSYS);
                return $failed;
            }
            forward!($name as fn(usize, usize, usize, usize, usize, usize) -> isize, a, b, c, d, e, f)
        }
    )*};
}

const ERROR: isize = -1;
const NULL: isize = 0;
/// `thrd_error` of C11's threads.
const THREAD_ERROR: isize = 2;

unmodelled! {
    signalfd c"signalfd" -> ERROR;
    inotify_init c"inotify_init" -> ERROR;
    inotify_init1 c"inotify_init1" -> ERROR;
    fanotify_init c"fanotify_init" -> ERROR;
    memfd_create c"memfd_create" -> ERROR;
    mkfifo c"mkfifo" -> ERROR;
    mkfifoat c"mkfifoat" -> ERROR;
    mknod c"mknod" -> ERROR;
    mknodat c"mknodat" -> ERROR;
    glob c"glob" -> ERROR;
    glob64 c"glob64" -> ERROR;
    ftw c"ftw" -> ERROR;
    ftw64 c"ftw64" -> ERROR;
    nftw c"nftw" -> ERROR;
    nftw64 c"nftw64" -> ERROR;
    scandir c"scandir" -> ERROR;
    scandir64 c"scandir64" -> ERROR;
    scandirat c"scandirat" -> ERROR;
    scandirat64 c"scandirat64" -> ERROR;
    fts_open c"fts_open" -> NULL;
    fts64_open c"fts64_open" -> NULL;
    tempnam c"tempnam" -> NULL;
    tmpnam c"tmpnam" -> NULL;
    tmpnam_r c"tmpnam_r" -> NULL;
    mktemp c"mktemp" -> NULL;
    chroot c"chroot" -> ERROR;
    pivot_root c"pivot_root" -> ERROR;
    mount c"mount" -> ERROR;
    umount c"umount" -> ERROR;
    umount2 c"umount2" -> ERROR;
    unshare c"unshare" -> ERROR;
    setns c"setns" -> ERROR;
    name_to_handle_at c"name_to_handle_at" -> ERROR;
    open_by_handle_at c"open_by_handle_at" -> ERROR;
    wordexp c"wordexp" -> ERROR;
    shm_open c"shm_open" -> ERROR;
    shm_unlink c"shm_unlink" -> ERROR;
    sem_open c"sem_open" -> NULL;
    sem_unlink c"sem_unlink" -> ERROR;
    mq_open c"mq_open" -> ERROR;
    mq_unlink c"mq_unlink" -> ERROR;
    shmget c"shmget" -> ERROR;
    shmat c"shmat" -> ERROR;
    semget c"semget" -> ERROR;
    semop c"semop" -> ERROR;
    semtimedop c"semtimedop" -> ERROR;
    semctl c"semctl" -> ERROR;
    msgget c"msgget" -> ERROR;
    msgsnd c"msgsnd" -> ERROR;
    msgrcv c"msgrcv" -> ERROR;
    aio_read c"aio_read" -> ERROR;
    aio_read64 c"aio_read64" -> ERROR;
    aio_write c"aio_write" -> ERROR;
    aio_write64 c"aio_write64" -> ERROR;
    aio_fsync c"aio_fsync" -> ERROR;
    aio_fsync64 c"aio_fsync64" -> ERROR;
    aio_suspend c"aio_suspend" -> ERROR;
    aio_suspend64 c"aio_suspend64" -> ERROR;
    lio_listio c"lio_listio" -> ERROR;
    lio_listio64 c"lio_listio64" -> ERROR;
    alarm c"alarm" -> NULL;
    ualarm c"ualarm" -> NULL;
    setitimer c"setitimer" -> ERROR;
    timer_create c"timer_create" -> ERROR;
    timer_settime c"timer_settime" -> ERROR;
    wait c"wait" -> ERROR;
    wait3 c"wait3" -> ERROR;
    wait4 c"wait4" -> ERROR;
    waitid c"waitid" -> ERROR;
    waitpid c"waitpid" -> ERROR;
    killpg c"killpg" -> ERROR;
    sigqueue c"sigqueue" -> ERROR;
    tgkill c"tgkill" -> ERROR;
    openlog c"openlog" -> ERROR;
    ftok c"ftok" -> ERROR;
    lockf c"lockf" -> ERROR;
    lockf64 c"lockf64" -> ERROR;
    ptrace c"ptrace" -> ERROR;
    process_vm_readv c"process_vm_readv" -> ERROR;
    process_vm_writev c"process_vm_writev" -> ERROR;
    pidfd_open c"pidfd_open" -> ERROR;
    pidfd_send_signal c"pidfd_send_signal" -> ERROR;
    vmsplice c"vmsplice" -> ERROR;
    tee c"tee" -> ERROR;
    quotactl c"quotactl" -> ERROR;
    openpty c"openpty" -> ERROR;
    forkpty c"forkpty" -> ERROR;
    posix_openpt c"posix_openpt" -> ERROR;
    getpt c"getpt" -> ERROR;
    daemon c"daemon" -> ERROR;
    freopen c"freopen" -> NULL;
    freopen64 c"freopen64" -> NULL;
    popen c"popen" -> NULL;
    system c"system" -> ERROR;
    execv c"execv" -> ERROR;
    execvp c"execvp" -> ERROR;
    execvpe c"execvpe" -> ERROR;
    fexecve c"fexecve" -> ERROR;
    vhangup c"vhangup" -> ERROR;
    getpwent c"getpwent" -> NULL;
    getgrent c"getgrent" -> NULL;
    getspnam c"getspnam" -> NULL;
    pthread_kill c"pthread_kill" -> libc::ENOSYS as isize;
    mtx_lock c"mtx_lock" -> THREAD_ERROR;
    mtx_timedlock c"mtx_timedlock" -> THREAD_ERROR;
    cnd_wait c"cnd_wait" -> THREAD_ERROR;
    cnd_timedwait c"cnd_timedwait" -> THREAD_ERROR;
    thrd_create c"thrd_create" -> THREAD_ERROR;
    thrd_join c"thrd_join" -> THREAD_ERROR;
    thrd_sleep c"thrd_sleep" -> ERROR;
    thrd_yield c"thrd_yield" -> ERROR;
}
