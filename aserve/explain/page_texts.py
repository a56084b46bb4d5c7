"""The page's own words in English and Chinese."""

# Chinese has its own punctuation, and wide characters.
# ruff: noqa: RUF001, E501

from collections.abc import Mapping

TEXTS: Mapping[str, tuple[str, str]] = {
    "title": ("Watch a server at work", "看服务器怎样工作"),
    "lead": (
        (
            "Each line is something that a real server or its client did, as strace and Python's"
            " profiler saw it. From top to bottom is the order. How long a bar is says nothing about"
            " time: tracing makes everything many times slower."
        ),
        (
            "每一行都是真实的服务器或客户端做的一件事，由 strace 和 Python 的 profiler 记录。从上到下是先后顺序；"
            "条的长短不代表时间：一加跟踪，什么都会慢上许多倍。"
        ),
    ),
    "overview": ("All models at a glance", "所有模型一览"),
    "overview_lead": (
        (
            "One line for each thread, from left to right. A thin line waits and costs nothing; what is"
            " striped asks in vain. Only stripes without end cost a whole core."
        ),
        "每个线程一行，从左到右。细线是等待，不花处理器；斜纹是白问，斜纹一直不断才占满一个核。",
    ),
    "no_strace": ("", "没有安装 strace，看不到系统调用（Debian：apt install strace）"),
    "idle": (
        "Traced without {}, which changes nothing for this model.",
        "没有使用 {}：它对这个模型不起作用。",
    ),
    "deferred": (
        (
            "The kernel reports a connection with its first data, or after a second"
            " (TCP_DEFER_ACCEPT)."
        ),
        "设置了 TCP_DEFER_ACCEPT：等第一份数据到达（最多一秒），内核才报告新连接。",
    ),
    "wait": ("waits", "等待"),
    "ask": ("asks in vain: EAGAIN", "白问一次：EAGAIN"),
    "compute": ("computes, or waits for the interpreter", "计算（或等解释器锁）"),
    "copy": ("data is copied", "拷贝数据"),
    "call": ("another system call", "其他系统调用"),
    "held": ("lies here until it is fetched", "留在这里，等待取走"),
    "phase_1": ("first phase: until data is ready", "第一阶段：数据就绪"),
    "phase_2": ("second phase: data is moved", "第二阶段：数据读写"),
    "book": ("The steps as books number them", "教科书上的步骤"),
    "step": ("step", "第 n 步"),
    "book_step": ("the step of the books that it belongs to", "它属于书上的第几步"),
    "back": ("Back", "后退"),
    "play": ("Play", "播放"),
    "forward": ("Forward", "前进"),
    "beside": ("Beside it", "并排比较"),
}

ABOUT: Mapping[str, tuple[str, str]] = {
    "simulated-proactor": (
        (
            "uvloop waits, reads and writes on one thread, and the logic gets data that is there"
            " already. Only what a disk must be waited for goes through the queue of the pool."
        ),
        "uvloop 在一个线程上等待、读、写，逻辑拿到的是已经读好的数据。只有要等磁盘的事才经过线程池的队列。",
    ),
    "simulated-proactor --by-the-book": (
        (
            "The main thread reads and writes; each request goes through the queue to a worker, which"
            " never calls read or write."
        ),
        "主线程负责读和写；每个请求都经过队列交给工作线程，工作线程从不调用 read 和 write。",
    ),
    "asyncio": (
        "The same on the standard library's loop.",
        "同样的做法，事件循环换成标准库的 asyncio。",
    ),
    "blocking": (
        (
            "One thread for each connection. It waits inside recv: for the data first, and then while"
            " it is copied."
        ),
        "一个连接一个线程。线程停在 recv 里：先等数据就绪，再等数据拷贝完。",
    ),
    "nonblocking": (
        "One thread tries every socket in turn. It never waits, and mostly gets EAGAIN.",
        "一个线程轮流去问每个套接字。它从不等待，得到的大多是 EAGAIN。",
    ),
    "select": (
        "One thread waits in select for all sockets at once, and passes all of them each time.",
        "一个线程在 select 里同时等所有套接字，每次都要把它们全部交给内核。",
    ),
    "poll": (
        "The same with poll: a list without the limit of 1,024 descriptors.",
        "poll 与 select 相同，但列表没有 1024 个描述符的限制。",
    ),
    "epoll": (
        (
            "The kernel keeps the set of sockets, and returns those that are ready, as long as they"
            " are."
        ),
        "套接字的集合留在内核里，epoll_wait 只返回就绪的；只要仍然就绪，就一直返回（水平触发）。",
    ),
    "epoll-et": (
        "The kernel reports each change once: the thread reads until EAGAIN.",
        "内核对每次变化只通知一次（边缘触发），所以线程要一直读到 EAGAIN。",
    ),
    "signal-driven": (
        (
            "The kernel queues a signal whenever something about a socket changes; then the thread"
            " reads."
        ),
        "套接字一有变化，内核就在信号队列里放一个信号；线程得知以后再去读。",
    ),
    "reactor": (
        (
            "The main thread waits and queues what is ready; a worker reads, handles and writes."
            " EPOLLONESHOT gives a connection to one worker at a time."
        ),
        "主线程等待，把就绪的连接放进请求队列；工作线程读、处理、写。EPOLLONESHOT 保证一个连接同时只在一个工作线程手里。",
    ),
    "reactor --by-the-book": (
        (
            "The main thread waits and queues, and nothing else. Workers accept, read and handle; once"
            " the socket is writable, a worker, perhaps another one, writes."
        ),
        "主线程只等待，把就绪的放进请求队列，别的都不做。工作线程接受连接、读、处理；等到套接字可写，再由一个工作线程（可能是另一个）来写。",
    ),
    "multi-reactor": (
        (
            "The main thread accepts, and wakes one of several loops, each with an epoll of its own."
            " The connection stays there."
        ),
        "主线程只接受连接，然后唤醒某个从 Reactor；每个从 Reactor 有自己的 epoll，连接从此留在那里。",
    ),
    "proactor": (
        (
            "The thread writes operations into a ring. The kernel waits for the data and copies it;"
            " the thread learns when that is done."
        ),
        "线程把操作写进环。等数据、拷贝数据都由内核完成，线程只在完成以后得到通知。",
    ),
    "proactor-aio": (
        (
            "aio_read and aio_write: threads of the C library wait and copy, and send a signal. The"
            " main thread reads it, and a worker handles what is complete."
        ),
        "aio_read 和 aio_write：由 C 库的线程等待和拷贝，完成后发信号；主线程读出信号，由工作线程处理已完成的数据。",
    ),
    "signal-driven --by-the-book": (
        (
            "The main thread goes on with its own work; the signal interrupts it, and its handler"
            " serves the connection."
        ),
        "主线程一直做自己的工作；信号到来时被打断，由信号处理函数来服务连接。",
    ),
    "iterative": (
        "One client after the other: the next one waits until the first has gone.",
        "一次只服务一个客户端：下一个要等前一个离开。",
    ),
    "fork": (
        "The parent accepts, and forks a child for each connection.",
        "父进程接受连接，为每个连接 fork 一个子进程。",
    ),
    "prefork": (
        "Children that were forked in advance accept connections themselves, one client at a time.",
        "预先 fork 好的子进程自己接受连接，每个一次服务一个客户端。",
    ),
}
"""What to look at in a model, by its name. Models that are not here have their summary."""
