/*
 * Lets User-mode Linux run on processors whose register state is larger than it knows.
 *
 * A User-mode Linux kernel runs its guest's programs as traced host processes and swaps their floating point and
 * vector registers with PTRACE_GETREGSET and PTRACE_SETREGSET (NT_X86_XSTATE). It uses a buffer of a fixed size
 * (2696 bytes: up to AVX-512 and protection keys). Where the processor has more, AMX tiles for one, the host kernel
 * refuses to set a state from a buffer that is too short: "ptrace set fp regs failed, errno = 14", and the guest panics.
 *
 * This library is preloaded into the User-mode Linux program. When a state is set from a buffer that is shorter than
 * what the host kernel holds, it reads the whole state first, lays the given part over its beginning, and sets that.
 * The XSAVE format is a legacy area, a header, and the components in ascending order, so the short buffer is a true
 * prefix of the long one. The rest stays as it was, which is right: a program may only use those later components after
 * asking with arch_prctl(ARCH_REQ_XCOMP_PERM), and a User-mode Linux kernel does not know that call. The header that
 * comes with the short buffer says which components are in use, and so never names one beyond it.
 *
 * Whether anything has to be done is decided at each call by the two lengths. On a processor without the problem the
 * library only costs the extra read, and no list of processors has to be kept.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

#ifndef NT_X86_XSTATE
#define NT_X86_XSTATE 0x202
#endif

/*
 * 64 KiB is several times what any processor has today (11 KiB with AMX). Static, because the caller runs on the
 * guest kernel's own small stack; one is enough, because that kernel has one processor and is not preempted here.
 */
static char whole_state[65536] __attribute__((aligned(64)));

/* glibc's ptrace always takes four arguments, however many of them the request reads. */
typedef long (*ptrace_function)(int request, ...);
static ptrace_function next_ptrace;

__attribute__((constructor)) static void find_next_ptrace(void)
{
	next_ptrace = (ptrace_function)dlsym(RTLD_NEXT, "ptrace");
}

static long set_state(int pid, void *kind, struct iovec *given)
{
	struct iovec whole = { .iov_base = whole_state, .iov_len = sizeof(whole_state) };

	if (next_ptrace(PTRACE_GETREGSET, pid, kind, &whole) < 0)
		return -1;
	if (whole.iov_len <= given->iov_len)
		return next_ptrace(PTRACE_SETREGSET, pid, kind, given);
	memcpy(whole_state, given->iov_base, given->iov_len);
	return next_ptrace(PTRACE_SETREGSET, pid, kind, &whole);
}

long ptrace(enum __ptrace_request request, ...)
{
	va_list arguments;
	int pid;
	void *address, *data;

	va_start(arguments, request);
	pid = va_arg(arguments, int);
	address = va_arg(arguments, void *);
	data = va_arg(arguments, void *);
	va_end(arguments);

	if (next_ptrace == NULL) {
		errno = ENOSYS;
		return -1;
	}
	if (request == PTRACE_SETREGSET && (long)address == NT_X86_XSTATE)
		return set_state(pid, address, data);
	return next_ptrace(request, pid, address, data);
}
