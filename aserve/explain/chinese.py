"""The texts of a trace in Chinese, by their English templates."""

# Chinese has its own punctuation, and wide characters.
# ruff: noqa: RUF001, E501

from collections.abc import Mapping

from aserve.explain.workflows import CHINESE_STEPS

_LISTENER, _CONNECTION = "监听套接字", "连接"


def _for_each(template: str, text: str) -> dict[str, str]:
    """Return a text about the listener, and the same about a connection."""
    return {
        template.replace("WHAT", "the listener"): text.replace("WHAT", _LISTENER),
        template.replace("WHAT", "the connection"): text.replace("WHAT", _CONNECTION),
    }


def _epoll_texts() -> dict[str, str]:
    found: dict[str, str] = {}
    for template, text in (
        ("adds WHAT to epoll", "把WHAT加入 epoll"),
        ("changes what epoll reports of WHAT", "修改 epoll 对WHAT关注的事件"),
        ("removes WHAT from epoll", "把WHAT从 epoll 移除"),
    ):
        for end, meaning in (("", ""), (": {events}", "：{events}")):
            found |= _for_each(f"{template}{end}", f"{text}{meaning}")
            found |= _for_each(f"{template}{end} ({{error}})", f"{text}{meaning}（{{error}}）")
    return found


def _readiness_texts() -> dict[str, str]:
    return {
        f"{how}, {what}{end}": f"{way}：{meaning}{tail}"
        for how, way in (("wakes up", "醒来"), ("asks without waiting", "不等待，只问一下"))
        for what, meaning in (
            ("one descriptor is ready", "一个描述符就绪"),
            ("{count} descriptors are ready", "{count} 个描述符就绪"),
        )
        for end, tail in (("", ""), (": {events}", "（{events}）"))
    }


_CLIENT = {
    "connects": "发起连接",
    "sends {count:,} bytes: {line}": "发送 {count:,} 字节：{line}",
    "sends {count:,} bytes, two requests at once: {line}": "一次发送两个请求，共 {count:,} 字节：{line}",
    "receives {count:,} bytes: {status}": "收到 {count:,} 字节：{status}",
    "receives the first {count:,} bytes, and reads no more for now": (
        "收到前 {count:,} 字节，暂时不再读"
    ),
    "reads on": "继续读",
    "closes": "关闭连接",
}
_WAITING = {
    "waits in {call}": "等待，停在 {call} 里",
    "waits for a job": "等待任务",
    "waits in {call} until data arrives": "停在 {call} 里，等数据到达",
    "waits in {call} until a client connects": "停在 {call} 里，等客户端连接",
    "waits in {call} for space in the socket": "停在 {call} 里，等套接字腾出空间",
    **_readiness_texts(),
    "reads signals from the signalfd": "从 signalfd 读出信号",
    "sends a signal to the process": "向进程发送一个信号",
    "cannot send a signal to the process: {error}": "无法向进程发送信号：{error}",
    "the signal handler is called": "调用信号处理函数",
    "goes on with its main work: a heartbeat": "继续做自己的主要工作：一次心跳",
    "is interrupted by {name}: {code}": "被 {name} 打断：{code}",
    "receives a signal": "收到信号",
    "receives a signal: {code}": "收到信号：{code}",
    "wakes another thread by its eventfd": "用 eventfd 唤醒另一个线程",
    "clears the eventfd that woke it": "清除唤醒它的 eventfd",
}
_IN_VAIN = {
    "finds no connection to accept: {error}": "没有可接受的连接：{error}",
    "finds no signal in the queue: EAGAIN": "信号队列是空的：EAGAIN",
    "would block on reading: {error}": "没有数据可读：{error}",
    "would block on writing: {error}": "套接字暂时写不进：{error}",
    "would block on opening {name}: EAGAIN": "打开 {name} 要等磁盘：EAGAIN",
    "would block on the disk: {error}": "页缓存里没有，要等磁盘：{error}",
}
_CALLS = {
    "accepts a connection": "接受一个连接",
    "reads {count:,} bytes": "读到 {count:,} 字节",
    "reads end of file: the client has closed": "读到末尾：客户端已关闭",
    "writes {count:,} bytes": "写出 {count:,} 字节",
    "has the kernel send {count:,} bytes of the file: sendfile": "让内核直接发送文件的 {count:,} 字节：sendfile",
    "opens {name}": "打开 {name}",
    "finds {name}, to see what it is": "找到 {name}，先看它是什么",
    "looks for {name}: not found": "找 {name}：没有",
    "cannot open {name}: {error}": "打不开 {name}：{error}",
    "asks for size and modification time": "查询大小和修改时间",
    "reads {count:,} bytes of the file": "从文件读到 {count:,} 字节",
    "reads names in {name}": "读出目录 {name} 里的名字",
    "finds that a socket has no offsets: ESPIPE": "发现套接字没有偏移量：ESPIPE",
    "makes a file without a name: O_TMPFILE": "创建一个没有名字的文件：O_TMPFILE",
    "writes {count:,} bytes to the new file": "向新文件写入 {count:,} 字节",
    "closes the new file": "关闭新文件",
    "waits until the new file is on the disk: {call}": "等新文件写到磁盘上：{call}",
    "waits until the directory is on the disk: {call}": "等目录写到磁盘上：{call}",
    "locks the directory": "给目录加锁",
    "unlocks the directory": "给目录解锁",
    "locks the new file": "给新文件加锁",
    "unlocks the new file": "给新文件解锁",
    "asks how much of the disk is free": "查询磁盘剩余空间",
    "gives the new file the name {name}: {call}": "给新文件起名 {name}：{call}",
    "cannot name it {name}: {error}": "不能起名 {name}：{error}",
    "closes the connection": "关闭连接",
    "closes {name}": "关闭 {name}",
    "starts a thread": "创建一个线程",
    "forks a child process": "fork 出一个子进程",
    "collects a child that has ended": "回收已结束的子进程",
    "ends": "结束",
    "closes the listener": "关闭监听套接字",
    "shuts down the sending side": "关闭发送方向",
    "tells epoll of a change (libuv does it through a ring)": (
        "把一处变更告诉 epoll（libuv 借一个环来做）"
    ),
    "tells epoll of {count} changes in one call (libuv does it through a ring)": (
        "一次调用把 {count} 处变更告诉 epoll（libuv 借一个环来做）"
    ),
    **_epoll_texts(),
    **_for_each(
        "chooses who gets the signals of WHAT: {command}",
        "指定由谁接收WHAT的信号：{command}",
    ),
    **_for_each("chooses the signal of WHAT: {command}", "为WHAT选定信号：{command}"),
    **_for_each("switches the signals of WHAT on: O_ASYNC", "打开WHAT的信号通知：O_ASYNC"),
}
_RING = {
    "submits an operation to the kernel": "向内核提交一个操作",
    "submits {count} operations to the kernel": "向内核提交 {count} 个操作",
    "submits an operation to the kernel and receives completions": "提交一个操作，取回完成通知",
    "submits {count} operations to the kernel and receives completions": (
        "提交 {count} 个操作，取回完成通知"
    ),
    "receives completions": "取回完成通知",
    "checks the rings": "查看两个环",
    "queues an accept on the ring": "往环里放一个 accept",
    "queues a receive on the ring": "往环里放一个 recv",
    "queues a read of the file on the ring": "往环里放一个读文件的操作",
    "queues a send on the ring": "往环里放一个 send",
    "gets the completion of accept: {result}": "accept 已完成：{result}",
    "gets the completion of receive: {result}": "recv 已完成：{result}",
    "gets the completion of read: {result}": "读文件已完成：{result}",
    "gets the completion of send: {result}": "send 已完成：{result}",
}
_STATES = {
    f"state machine: {{before}} to {{after}} ({cause})": f"状态机：{{before}} → {{after}}（{text}）"
    for cause, text in (
        ("head begun", "请求头开始"),
        ("head ended", "请求头结束"),
        ("body announced", "后面有请求体"),
        ("body ended", "请求体结束"),
        ("rejected", "请求被拒绝"),
        ("response started", "开始响应"),
        ("kept alive", "保持连接"),
        ("closed cleanly", "正常关闭"),
        ("closed early", "提前关闭"),
        ("taken over", "连接移交"),
        ("ended", "连接结束"),
    )
}
_CODE = {
    "builds the response to {method} {target}": "生成对 {method} {target} 的响应",
    "looks up the response in the cache": "在缓存里查找响应",
    "receives the result from the pool": "收到线程池的结果",
    "puts the job into the queue of the pool": "把任务放进请求队列",
    "takes the job from the queue": "从请求队列取出任务",
    "starts to read the file: aio_read": "发起读文件：aio_read",
    "starts to read the socket: aio_read": "发起读套接字：aio_read",
    "starts to write to the socket: aio_write": "发起写套接字：aio_write",
    "gets the data: aio_return": "取得数据：aio_return",
    "gets the result: aio_return": "取得结果：aio_return",
}
_LANES = {
    "client": "客户端",
    "client {number}": "客户端 {number}",
    "main thread": "主线程",
    "child process": "子进程",
    "child process {number}": "子进程 {number}",
    "thread {number}": "线程 {number}",
    "a thread of libc": "C 库的线程",
    "libc thread {number}": "C 库线程 {number}",
    "{name}": "{name}",
    "socket buffers": "套接字缓冲区",
    "ready list": "就绪列表",
    "ring": "环",
    "signal queue": "信号队列",
    "page cache": "页缓存",
    "request queue": "请求队列",
}
CHINESE: Mapping[str, str] = {
    **_CLIENT,
    **_WAITING,
    **_IN_VAIN,
    **_CALLS,
    **_RING,
    **_STATES,
    **_CODE,
    **_LANES,
    **CHINESE_STEPS,
}
