# What siggen makes of the crash data on standard input, one object a line: for each, a line with the
# signature of its Java method, that method's notes, and the signature behind all its rules.
import json
import sys

from siggen.generator import SignatureGenerator
from siggen.rules import JavaExceptionSignatureTool, JavaSignatureTool

generator = SignatureGenerator()
for line in sys.stdin:
    data = json.loads(line)
    if data.get("java_stack_trace"):
        base, notes, _ = JavaSignatureTool().generate(data["java_stack_trace"])
    else:
        base, notes, _ = JavaExceptionSignatureTool().generate(data["java_exception"])
    print(json.dumps([base, notes, generator.generate(data).signature]))
