package javacrash;

import java.util.ArrayList;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Set;

/** The JavaException annotation as Android's sender makes it: root cause first, 50 frames in all. */
final class Report {
  private static final int MAX_FRAMES = 50;

  static String of(Throwable thrown) {
    List<Throwable> chain = new ArrayList<>();
    Set<Throwable> seen = Collections.newSetFromMap(new IdentityHashMap<>());
    for (Throwable t = thrown; t != null && seen.add(t); t = t.getCause()) {
      chain.add(0, t);
    }
    StringBuilder out = new StringBuilder("{\"exception\":{\"values\":[");
    int left = MAX_FRAMES;
    for (Throwable t : chain) {
      if (left == 0) {
        break;
      }
      out.append(left < MAX_FRAMES ? ",\n" : "\n").append("{\"stacktrace\":{");
      String name = t.getClass().getName();
      int dot = name.lastIndexOf('.');
      member(out, "type", name.substring(dot + 1)).append(',');
      member(out, "module", dot < 0 ? name : name.substring(0, dot));
      if (t.getMessage() != null) {
        member(out.append(','), "value", t.getMessage());
      }
      out.append(",\"frames\":[");
      StackTraceElement[] frames = t.getStackTrace();
      for (int i = 0; i < frames.length && left > 0; i++, left--) {
        StackTraceElement frame = frames[i];
        out.append(i > 0 ? ",\n  " : "\n  ").append('{');
        member(out, "module", frame.getClassName()).append(',');
        member(out, "function", frame.getMethodName());
        out.append(",\"in_app\":").append(!frame.isNativeMethod()).append(",\"lineno\":").append(frame.getLineNumber());
        if (frame.getFileName() != null) {
          member(out.append(','), "filename", frame.getFileName());
        }
        out.append('}');
      }
      out.append("]}}");
    }
    return out.append("]}}\n").toString();
  }

  private static StringBuilder member(StringBuilder out, String name, String value) {
    out.append('"').append(name).append("\":\"");
    for (char c : value.toCharArray()) {
      if (c < ' ' || c == '"' || c == '\\') {
        out.append(String.format("\\u%04x", (int) c));
      } else {
        out.append(c);
      }
    }
    return out.append('"');
  }
}
