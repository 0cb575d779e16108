// Crash reporting for a small program: on a crash, Crashpad's handler is started, which reads this
// process, writes a minidump and uploads it.
#pragma once

namespace crash {

// Where and how to report. Strings live as long as the program.
struct Config {
  const char* handler;      // path of crashpad_handler; null: crashes only end the process
  const char* database;     // folder with new, pending, completed, attachments and settings.dat
  const char* url;          // where to send minidumps
  const char* annotations[16];  // "KEY=VALUE", null-terminated
};

// Install makes crash signals report. The calling thread gets an alternate signal stack, so that
// running out of stack can be reported too.
void Install(const Config& config);

// UseAlternateStack gives the calling thread an alternate signal stack.
void UseAlternateStack();

}  // namespace crash
