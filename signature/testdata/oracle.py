"""Makes crashes and records what siggen makes of them: oracle.py SOCORRO LISTS N | gzip -9n >siggen.jsonl.gz

SOCORRO is a checkout of mozilla-services/socorro (recorded with 7e28d72), LISTS its socorro/signature/siglists; it needs
the module glom. Each line is [crash data, signature, proto_signature]; the same crashes every time.
"""
import json, random, sys

sys.path.insert(0, sys.argv[1] + "/socorro")
from signature import rules as r
from signature.generator import DEFAULT_RULESET, SignatureGenerator

lists = sys.argv[2]
# The watchdog's rule takes the lists that come with siggen, whatever it is given; these are the same.
generator = SignatureGenerator([r.SignatureGenerationRule(lists) if c is r.SignatureGenerationRule else c for c in DEFAULT_RULESET])
rng = random.Random(1)
pick = rng.choice

words = "foo bar Baz qux_t operator Run get main malloc abort raise Widget draw const std mozilla dom IPC ParamTraits alloc core ops function FnOnce RunWatchdog hadd part isra".split()
# Names that the lists are about, and some that only look like them.
listed = """memcpy memset free calloc realloc __chk_fail _chkstk __cxa_throw _CxxThrowException RaiseException _purecall _sigtramp std::terminate
core::panicking::panic core::panicking::panic_fmt std::panicking::begin_panic<T> core::option::expect_failed core::result::unwrap_failed
alloc::alloc::handle_alloc_error NS_ABORT_OOM(unsigned\x20int) mozalloc_abort mozalloc_handle_oom(unsigned\x20int) AutoEnterOOMUnsafeRegion::crash
js_Interpret js_Interpret(JSContext*,\x20js::RunState&) JS_CallFunctionValue nsTArray_Impl<T,int>::operator[](unsigned\x20int)
NtWaitForSingleObject WaitForSingleObjectEx pthread_cond_wait __pthread_kill gsignal kill syscall <name\x20omitted> <unknown\x20in\x20foo.dll> XUL
mozilla::(anonymous\x20namespace)::RunWatchdog(void*) mozilla::ipc::FatalError google_breakpad::ExceptionHandler::HandleInvalidParameter __assert_fail
alloc::oom::oom CrashAtUnhandlableOOM IPC::MessageWriter::FatalError __rust_start_panic objc_msgSend -[NSException\x20raise] zero""".split("\n")
listed = [w.replace("\\x20", " ") for line in listed for w in line.replace("\x20", "\x00").split("\x00") if w]


def ident():
    return pick(words) + pick(["", "", "", "2", "_x", "$1", "'"])


def typ(depth):
    t = "::".join(ident() for _ in range(rng.randint(1, 3)))
    if depth and rng.random() < 0.4:
        t += "<" + pick([", ", ",", " , "]).join(typ(depth - 1) for _ in range(rng.randint(1, 3))) + pick([">", ">", " >", ""])
    return t + pick(["", "", "", "*", " *", "&", " const&", "[]", "()", "->int", " as X", " in y"])


def function():
    if rng.random() < 0.3:
        return pick(listed)
    name = "::".join(pick([ident, ident, ident, lambda: typ(2), lambda: "(anonymous namespace)", lambda: "`anonymous namespace'", lambda: "$_%d" % rng.randint(0, 99), lambda: "{{closure}}", lambda: "~" + ident(), lambda: "operator" + pick(["<", "()", "->", "==", " new", "[]", "<<", " int"])])() for _ in range(rng.randint(1, 4)))
    if rng.random() < 0.3:
        name += "<" + typ(2) + ">"
    if rng.random() < 0.6:
        name += pick(["", "", " "]) + "(" + ", ".join(typ(2) for _ in range(rng.randint(0, 3))) + pick([")", ")", ")", ""])
    name += pick(["", "", "", "", " const", " const&", " const &", "&&", "&", " [clone .cold.12]", " [clone .isra.0]", "::h0123456789abcdef", "::hadd", " (.llvm.7)"])
    if rng.random() < 0.3:
        name = pick(["static ", "void ", "void * ", "virtual " + typ(1) + " ", "unsigned int ", "<impl X for Y>::", "fn "]) + name
    return name


def source():
    return pick([None, "", "/src/a.cpp", "hg:hg.mozilla.org/x:js/src/a.cpp:12ab", "git:github.com/rust:src/libcore/panicking.rs:1", "/b/lib.rs", "C:\\src\\b.cpp", "c:/x/y.rs", "rel/a.cpp", "rel/a.rs", "a:b:c:d:e", "/dir/", "git:h:src/liballoc/raw_vec.rs:1"])


def frame():
    f = {"frame": 0}
    kind = rng.random()
    if kind < 0.75:
        f["function"] = function()
        if rng.random() < 0.05:
            f["function"] = pick(["capacity_overflow", "panic", "begin_panic_fmt"])
    if rng.random() < 0.7:
        f["file"], f["line"] = source(), rng.randint(1, 999)
    if rng.random() < 0.7:
        f["module"] = pick(["foo.dll", "FOO.DLL", "libx.so", "XUL", "[vdso]", "app", "a.out", "libc.so.6", "linux-gate.so"])
    if rng.random() < 0.3:
        f["unloaded_modules"] = [{"module": pick(["u.dll", "v.so"]), "offsets": ["0x1"]}]
    if rng.random() < 0.9:
        f["offset"] = pick(["0x00000abc", "0x0", "0x%x" % rng.getrandbits(48), "zz", "0X1F", "12"])
        f["module_offset"] = f["offset"]
    if rng.random() < 0.1:
        f["inlines"] = [{"function": function(), "file": source(), "line": rng.randint(1, 99)} for _ in range(rng.randint(1, 3))]
    return f


def crash():
    c = {"os": pick(["Windows NT", "Linux", "Mac OS X"]), "crashing_thread": pick([0, 0, 0, 1, 7, None]), "threads": [{"frames": [frame() for _ in range(rng.choice([0, 1, 1, 2, 2, 3, 4, 6] if rng.random() < 0.99 else [60]))]} for _ in range(2)]}
    if rng.random() < 0.1:
        c["threads"][0]["last_error_value"] = pick(["ERROR_COMMITMENT_LIMIT", "ERROR_NOT_ENOUGH_MEMORY", "ERROR_SUCCESS"])
    for key, values, share in [
        ("reason", ["SIGSEGV", "EXCEPTION_STACK_OVERFLOW", "STATUS_NO_MEMORY", "EXCEPTION_IN_PAGE_ERROR_READ / STATUS_DEVICE_DATA_ERROR"], 0.4),
        ("oom_allocation_size", [0, 1, 262144, 262145, 1 << 40], 0.1),
        ("js_large_allocation_failure", ["Reporting", "Reported"], 0.05),
        ("abort_message", ["boom", "[1] ###!!! ABORT: x y: file a.cpp, line 3", "###!!! ABORT: file b.cpp", "unable to find a usable font (ä) z", "m" * 81, " "], 0.15),
        ("async_shutdown_timeout", ['{"phase":"p","conditions":[{"name":"b"},"a"]}', "{}", "{", "[]", '{"phase":7,"conditions":null}', '{"phase":"q","conditions":[{"x":1}]}'], 0.08),
        ("ipc_channel_error", ["ShutDownKill", "é" * 120], 0.06),
        ("ipc_message_name", ["PBrowser::Msg_X"], 0.06),
        ("additional_minidumps", [["upload_file_minidump_browser"], [], ["x"]], 0.2),
        ("hang", ["ui", "shutdown"], 0.06),
        ("mdsw_status_string", ["OK", "EmptyMinidump"], 0.3),
    ]:
        if rng.random() < share:
            c[key] = pick(values)
    return c


for _ in range(int(sys.argv[3])):
    c = crash()
    got = generator.generate(c)
    print(json.dumps([c, got.signature, got.extra.get("proto_signature", "")], separators=(",", ":")))
