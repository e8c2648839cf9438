"""Numbers of the system calls that a sandbox may not make, for each machine that we know.

The numbers are the kernel's public interface and never change; x86_64 from
`arch/x86/entry/syscalls/syscall_64.tbl`, aarch64 from `include/uapi/asm-generic/unistd.h`.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Machine:
    """One architecture, as a seccomp filter sees it.

    `last` is the newest call that was judged: later ones answer "not implemented".
    """

    audit_arch: int
    denied: dict[str, int]
    clone: int
    clone3: int
    ioctl: int
    socket: int
    socketpair: int
    first_foreign: int | None
    last: int


# Calls with the same number on both machines: all that were added after 2019.
_COMMON = {
    "pidfd_getfd": 438,
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "io_uring_register": 427,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "process_madvise": 440,
    "mount_setattr": 442,
    "quotactl_fd": 443,
    "memfd_secret": 447,
    "process_mrelease": 448,
    "set_mempolicy_home_node": 450,
}

X86_64 = Machine(
    audit_arch=0xC000003E,
    clone=56,
    clone3=435,
    ioctl=16,
    socket=41,
    socketpair=53,
    # The x32 interface: the same calls under other numbers.
    first_foreign=0x40000000,
    last=462,
    denied=_COMMON
    | {
        "_sysctl": 156,
        "acct": 163,
        "add_key": 248,
        "adjtimex": 159,
        "bpf": 321,
        "chroot": 161,
        "clock_adjtime": 305,
        "clock_settime": 227,
        "create_module": 174,
        "delete_module": 176,
        "fanotify_init": 300,
        "fanotify_mark": 301,
        "finit_module": 313,
        "get_kernel_syms": 177,
        "init_module": 175,
        "ioperm": 173,
        "iopl": 172,
        "kcmp": 312,
        "kexec_file_load": 320,
        "kexec_load": 246,
        "keyctl": 250,
        "lookup_dcookie": 212,
        "mbind": 237,
        "memfd_create": 319,
        "migrate_pages": 256,
        "modify_ldt": 154,
        "mount": 165,
        "move_pages": 279,
        "mq_open": 240,
        "mq_unlink": 241,
        "msgctl": 71,
        "msgget": 68,
        "msgrcv": 70,
        "msgsnd": 69,
        "name_to_handle_at": 303,
        "nfsservctl": 180,
        "open_by_handle_at": 304,
        "perf_event_open": 298,
        "pivot_root": 155,
        "process_vm_readv": 310,
        "process_vm_writev": 311,
        "ptrace": 101,
        "query_module": 178,
        "quotactl": 179,
        "reboot": 169,
        "request_key": 249,
        "semctl": 66,
        "semget": 64,
        "semop": 65,
        "semtimedop": 220,
        "set_mempolicy": 238,
        "setdomainname": 171,
        "sethostname": 170,
        "setns": 308,
        "settimeofday": 164,
        "shmat": 30,
        "shmctl": 31,
        "shmget": 29,
        "swapoff": 168,
        "swapon": 167,
        "sysfs": 139,
        "syslog": 103,
        "umount2": 166,
        "unshare": 272,
        "uselib": 134,
        "userfaultfd": 323,
        "ustat": 136,
        "vhangup": 153,
    },
)

AARCH64 = Machine(
    audit_arch=0xC00000B7,
    clone=220,
    clone3=435,
    ioctl=29,
    socket=198,
    socketpair=199,
    first_foreign=None,
    last=462,
    denied=_COMMON
    | {
        "acct": 89,
        "add_key": 217,
        "adjtimex": 171,
        "bpf": 280,
        "chroot": 51,
        "clock_adjtime": 266,
        "clock_settime": 112,
        "delete_module": 106,
        "fanotify_init": 262,
        "fanotify_mark": 263,
        "finit_module": 273,
        "init_module": 105,
        "kcmp": 272,
        "kexec_file_load": 294,
        "kexec_load": 104,
        "keyctl": 219,
        "lookup_dcookie": 18,
        "mbind": 235,
        "memfd_create": 279,
        "migrate_pages": 238,
        "mount": 40,
        "move_pages": 239,
        "mq_open": 180,
        "mq_unlink": 181,
        "msgctl": 187,
        "msgget": 186,
        "msgrcv": 188,
        "msgsnd": 189,
        "name_to_handle_at": 264,
        "nfsservctl": 42,
        "open_by_handle_at": 265,
        "perf_event_open": 241,
        "pivot_root": 41,
        "process_vm_readv": 270,
        "process_vm_writev": 271,
        "ptrace": 117,
        "quotactl": 60,
        "reboot": 142,
        "request_key": 218,
        "semctl": 191,
        "semget": 190,
        "semop": 193,
        "semtimedop": 192,
        "set_mempolicy": 237,
        "setdomainname": 162,
        "sethostname": 161,
        "setns": 268,
        "settimeofday": 170,
        "shmat": 196,
        "shmctl": 195,
        "shmget": 194,
        "swapoff": 225,
        "swapon": 224,
        "syslog": 116,
        "umount2": 39,
        "unshare": 97,
        "userfaultfd": 282,
        "vhangup": 58,
    },
)

MACHINES = {"x86_64": X86_64, "aarch64": AARCH64}
