// SPDX-License-Identifier: GPL-3.0-or-later
// ivit: the engine on the command line.
#include <fcntl.h>
#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <new>
#include <system_error>
#include <utility>

#include "app/cli/command.h"
#include "app/lost_file.h"
#include "engine/error.h"
#include "engine/version.h"

namespace {

using namespace ivit;

// A caller may have closed them; then the next file that is opened, a model or a report, would stand in for
// one. Standard output so that writing fails, which is told; the other two so that nobody notices.
void occupy_standard_files() {
    for (const auto& [file, mode] : {std::pair(0, O_RDONLY), std::pair(1, O_RDONLY), std::pair(2, O_WRONLY)})
        if (fcntl(file, F_GETFD) < 0 && open("/dev/null", mode) < 0) std::_Exit(1);
}

// What was wrong with the words given, in one sentence, and where to read on.
int wrong_words(const CLI::App& program, const CLI::ParseError& e, int argc, char** argv) {
    const auto chosen = program.get_subcommands();
    std::string what = e.what(), command = "ivit";
    if (!chosen.empty())
        command += " " + chosen.front()->get_name();
    else if (argc > 1 && argv[1][0] != '-')
        what = fmt::format("there is no command '{}'", argv[1]);
    else if (argc == 1)
        what = "a command is needed";
    cli::say(fmt::format("{}\n      `{} --help` lists {}", what, command,
                         chosen.empty() ? "the commands" : "its options"));
    return 2;
}

// An empty word, as a shell makes of a variable that is not set, is never taken for "the default".
void refuse_empty_words(CLI::App& program) {
    const CLI::Validator some([](std::string& s) { return s.empty() ? "the word is empty" : ""; }, "");
    for (CLI::App* command : program.get_subcommands({}))
        for (CLI::Option* o : command->get_options())
            if (o->get_type_size() > 0) o->check(some);
}

// All that may be said to the program; `run` is what was chosen.
void add_words(CLI::App& program, cli::Run& run) {
    program.set_version_flag("--version", program_name());
    program.require_subcommand(1);
    program.footer(
        "`ivit COMMAND --help` lists a command's options. Exit status: 0 done; 1 something could not be\n"
        "read, written or done, or (replay, diff, selftest) differs; 2 wrong words; 130 interrupted.");
    cli::add_classify(program, run);
    cli::add_compare(program, run);
    cli::add_info(program, run);
    cli::add_calibrate(program, run);
    cli::add_quantize(program, run);
    cli::add_run(program, run);
    cli::add_bench(program, run);
    cli::add_evaluate(program, run);
    cli::add_merge(program, run);
    cli::add_report(program, run);
    cli::add_replay(program, run);
    cli::add_diff(program, run);
    cli::add_selftest(program, run);
}

}  // namespace

int main(int argc, char** argv) {
    occupy_standard_files();
    cli::install_interrupt_handler();
    say_when_a_mapped_file_is_lost("ivit");
    std::cerr.rdbuf(nullptr);  // where OpenCV talks of its sources when it fails; our own words go to stderr
    CLI::App program("ivit: an integer-only Vision Transformer beside its float network", "ivit");
    cli::Run run;
    add_words(program, run);
    refuse_empty_words(program);
    try {
        program.parse(argc, argv);
    } catch (const CLI::ParseError& e) {
        if (e.get_exit_code() != 0) return wrong_words(program, e, argc, argv);
        program.exit(e);  // --help, --version
        return std::fflush(stdout) == 0 ? 0 : 1;
    }
    try {
        const int code = run();
        if (std::fflush(stdout) != 0) {
            if (errno == EPIPE) return 141;
            throw Error("could not write to standard output");
        }
        return code;
    } catch (const Cancelled&) {
        cli::say("interrupted");
        return 130;
    } catch (const Error& e) {
        cli::say(cli::one_line(e.what()) + (e.hint().empty() ? "" : "\n      " + e.hint()));
        return 1;
    } catch (const std::system_error& e) {
        // Whoever read has read enough (`| head`); 141 is what a shell says of that.
        if (e.code() == std::errc::broken_pipe) return 141;
        cli::say(e.what());
        return 1;
    } catch (const std::bad_alloc&) {
        cli::say("out of memory");
        return 1;
    } catch (const std::exception& e) {
        cli::say(e.what());
        return 1;
    }
}
