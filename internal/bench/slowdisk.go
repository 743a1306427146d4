package bench

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/posthorn/posthorn/internal/cli"
	"github.com/posthorn/posthorn/internal/duration"
)

// delaySyncs makes each fsync and fdatasync of this process take longer, as on a slower disk.
// The kernel asks the process "bench delayer" before it executes one (seccomp_unotify(2)); no
// other system call is affected. It returns when the delay is in force.
func delaySyncs(by time.Duration) error {
	listener, err := holdSyncs()
	if err != nil {
		return fmt.Errorf("delay the syncs of the disk: %w", err)
	}
	defer listener.Close()
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find own binary: %w", err)
	}
	cmd := exec.Command(self, "bench", "delayer", "--by", by.String())
	cmd.Stderr, cmd.ExtraFiles = os.Stderr, []*os.File{listener}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // the kernel ends the child with the thread that started it
		started <- cmd.Start()
		_ = cmd.Wait() // ends with this process
	}()
	return <-started
}

// holdSyncs makes all threads of this process wait in fsync and fdatasync until the reader of
// the file lets them continue.
func holdSyncs() (*os.File, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return nil, err
	}
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // the number of the system call
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_FSYNC, Jt: 1},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_FDATASYNC, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	flags := unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_TSYNC | unix.SECCOMP_FILTER_FLAG_TSYNC_ESRCH | unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, uintptr(flags), uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return nil, errno
	}
	unix.CloseOnExec(int(fd))
	return os.NewFile(fd, "syncs"), nil
}

// held is a system call that waits: struct seccomp_notif of the kernel.
type held struct {
	id         uint64
	pid, flags uint32
	call       [64]byte
}

// goOn lets a system call continue: struct seccomp_notif_resp.
type goOn struct {
	id    uint64
	value int64
	err   int32
	flags uint32
}

// newBenchDelayer returns the process that lets the syncs of its parent continue after a
// time. It is a process of its own, so that the delay does not depend on how busy the server is.
func newBenchDelayer() *cobra.Command {
	cmd := &cobra.Command{Use: "delayer", Hidden: true, Args: cli.NoArgs}
	var by time.Duration
	duration.Var(cmd.Flags(), &by, "by", time.Millisecond, "by how much")
	cmd.RunE = func(*cobra.Command, []string) error {
		for {
			var h held // the kernel refuses one that is not zero
			if err := control(unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&h)); errors.Is(err, unix.EINTR) || errors.Is(err, unix.ENOENT) {
				continue
			} else if err != nil {
				return fmt.Errorf("wait for a sync: %w", err)
			}
			go func() {
				time.Sleep(by)
				answer := goOn{id: h.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
				_ = control(unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&answer)) // fails if the process has ended
			}()
		}
	}
	return cmd
}

// control makes a call on the listener, the first file that a process inherits.
func control(request uintptr, argument unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, 3, request, uintptr(argument)); errno != 0 {
		return errno
	}
	return nil
}
