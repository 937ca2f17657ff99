// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
#include <unistd.h>

#include <csignal>
#include <cstring>

namespace ivit {

// Models are read where they lie in a mapped file. When another process shortens that file, or its disk or
// network goes away, the kernel sends SIGBUS in the middle of any instruction: nothing can be mended then,
// but it can be said. `program`: its name, a literal. Exit status 1, as for every other file that is broken.
inline void say_when_a_mapped_file_is_lost(const char* program) {
    static const char* name;
    name = program;
    struct sigaction action {};
    action.sa_flags = SA_SIGINFO | SA_RESETHAND;
    action.sa_sigaction = [](int signal, siginfo_t* info, void*) {
        if (info->si_code != BUS_ADRERR) {  // of something else: as if nobody had asked
            raise(signal);
            return;
        }
        for (const char* part :
             {name, ": a model's file was shortened, or its disk went away, while it was being read\n"})
            if (::write(2, part, std::strlen(part)) < 0) break;
        ::_exit(1);
    };
    sigaction(SIGBUS, &action, nullptr);
}

}  // namespace ivit
