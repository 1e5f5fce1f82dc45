"""Runs a command in a pseudo-terminal: its output goes to standard output as it comes, and each line of standard input
is an order: `send HEX` types bytes, `resize COLUMNS`. Ends with the command's exit code (128 + n for signal n)."""
import fcntl, os, pty, select, struct, sys, termios

columns = int(sys.argv[1])
pid, master = pty.fork()
if pid == 0:
    os.execvp(sys.argv[2], sys.argv[2:])

def resize(columns):
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))

resize(columns)
orders = b""
watched = [master, 0]
while True:
    ready, _, _ = select.select(watched, [], [])
    if master in ready:
        try:
            data = os.read(master, 65536)
        except OSError:  # Linux says so when the other side has closed
            break
        if not data:
            break
        os.write(1, data)
    if 0 in ready:
        data = os.read(0, 65536)
        if not data:
            watched.remove(0)
        orders += data
        while b"\n" in orders:
            line, orders = orders.split(b"\n", 1)
            order, value = line.decode().split(" ", 1)
            if order == "send":
                os.write(master, bytes.fromhex(value))
            elif order == "resize":
                resize(int(value))
_, status = os.waitpid(pid, 0)
sys.exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))
