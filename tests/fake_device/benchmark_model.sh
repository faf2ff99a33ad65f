#!/bin/sh
# A stand-in for TensorFlow Lite's benchmark_model 2.14: the same flags, text and exit codes, with latencies made up.
#
# The mean latency comes from $FAKE_ROOT/latency.json, {"NAME OR SHA-256 OF THE GRAPH": microseconds}, or else from
# the graph's size; the noise from the graph's size and how often this program ran before ($FAKE_STATE). The figure is
# for one thread. It is computed and not waited for. $FAKE_BENCHMARK holds what is to go wrong (see faults.py).

graph=
for argument; do
    case $argument in --graph=*) graph=${argument#--graph=} ;; esac
done

fails() {
    case " $FAKE_BENCHMARK " in *" $1 "*) return 0 ;; esac
    return 1
}

if fails wrong_abi; then
    echo "/system/bin/sh: $0: Exec format error" >&2
    exit 126
fi
if fails garbage_output; then
    head -c 3000 /dev/urandom
    exit 0
fi

state=missing
[ -d "$graph" ] || [ ! -r "$graph" ] || state=$(head -c 8 "$graph" | tail -c 4 | tr -d '\0')
size=0
runs=0
mean=
if [ "$state" = TFL3 ]; then
    size=$(wc -c <"$graph")
    if [ -n "$FAKE_STATE" ]; then
        printf x >>"$FAKE_STATE/benchmarks"
        runs=$(wc -c <"$FAKE_STATE/benchmarks")
    fi
    if [ -r "$FAKE_ROOT/latency.json" ]; then
        digest=$(sha256sum "$graph")
        for key in "${graph##*/}" "${digest%% *}"; do
            found=$(tr ',{}' '\n\n\n' <"$FAKE_ROOT/latency.json" | sed -n "s/^ *\"$key\": *\([0-9.]*\) *$/\1/p")
            mean=${found:-$mean}
        done
    fi
fi

GRAPH=$graph STATE=$state SIZE=$size RUNS=$runs MEAN=$mean awk '
function flag(name, fallback) { return (name in given) ? given[name] : fallback }
function yes(name) { return flag(name, "false") == "true" || flag(name, "false") == "1" }
function info(text) { out = out "INFO: " text "\n" }
function error(text) { print "ERROR: " text > "/dev/stderr" }
function parameter(name, label) { if (name in given) info(label ": [" (yes(name) ? 1 : given[name]) "]") }
function give_up() { printf "%s", out; error("Benchmarking failed."); exit 1 }

# A linear congruence (Lehmer, 16807 modulo 2^31 - 1) is the same in every awk; twelve of it make a normal deviate.
function uniform() { seed = (seed * 16807) % 2147483647; return seed / 2147483647 }
function normal(   i, sum) { sum = -6; for (i = 0; i < 12; i++) sum += uniform(); return sum }

function sort_values(n,   gap, i, j, value) {
    for (gap = int(n / 2); gap > 0; gap = int(gap / 2))
        for (i = gap; i < n; i++) {
            value = sorted[i]
            for (j = i; j >= gap && sorted[j - gap] > value; j -= gap) sorted[j] = sorted[j - gap]
            sorted[j] = value
        }
}

# Rounds until there are enough of them and of seconds; leaves first and average, returns the line about them.
function rounds(least, seconds,   n, i, value, total, squares, low, high, text) {
    info(sprintf("Running benchmark for at least %d iterations and at least %.6g seconds but terminate if exceeding %.6g seconds.", least, seconds, flag("max_secs", 150)))
    average = first = 0
    if (yes("dry_run")) return "count=0"
    while ((n < least || total < seconds * 1e6) && total < flag("max_secs", 150) * 1e6) {
        value = int(mean * (1 + 0.02 * normal()) + 0.5)
        if (value < 1) value = 1
        if (n == 0) { value = int(value * 1.12); first = low = high = value }
        if (value < low) low = value
        if (value > high) high = value
        sorted[n++] = value
        total += value
        squares += value * value
    }
    average = total / n
    if (n == 1) return "count=1 curr=" value
    if (low == high) return sprintf("count=%d curr=%d(all same)", n, value)
    text = sprintf("count=%d first=%d curr=%d min=%d max=%d avg=%.6g std=%d", n, first, value, low, high, average, sqrt(squares / n - average * average))
    if (faults ~ / percentiles /) {
        sort_values(n)
        text = text sprintf(" p5=%d median=%d p95=%d", sorted[int(n * 0.05)], sorted[int(n / 2)], sorted[int(n * 0.95)])
    }
    return text
}

function node_row(type, ms, share, sum, kib, name) {
    if (csv) gsub(",", "\t", name)
    if (csv) return sprintf("%s, %.6g, %.6g, %.6g%%, %.6g%%, %.6g, 1, %s\n", type, ms * 1.03, ms, share, sum, kib, name)
    return sprintf("\t%40s\t%9.3f\t%9.3f\t%7.3f%%\t%7.3f%%\t%10.3f\t%9d\t%s\n", type, ms * 1.03, ms, share, sum, kib, 1, name)
}
function type_row(type, count, ms, share, sum, kib) {
    if (csv) return sprintf("%s, %d, %.6g, %.6g%%, %.6g%%, %.6g, %d\n", type, count, ms, share, sum, kib, count)
    return sprintf("\t%40s\t%9d\t%10.3f\t%10.3f%%\t%10.3f%%\t%10.3f\t%9d\n", type, count, ms, share, sum, kib, count)
}
function heading(title,   text) {
    text = "============================== " title " ==============================\n"
    if (title ~ /Summary/ && csv) return text "node type, count, avg_ms, avg %, cdf %, mem KB, times called\n"
    if (csv) return text "node type, first, avg_ms, %, cdf%, mem KB, times called, name\n"
    if (title ~ /Summary/) return text "\t                             [Node type]\t  [count]\t  [avg ms]\t    [avg %]\t    [cdf %]\t  [mem KB]\t[times called]\n"
    return text "\t                             [node type]\t  [first]\t [avg ms]\t     [%]\t  [cdf%]\t  [mem KB]\t[times called]\t[Name]\n"
}

# Tables of n nodes with the given shares of a whole of so many milliseconds. Nodes of a type follow one another.
function tables(n, ms, kib, line,   i, k, text, sum, best, left, counts, shares, types, order) {
    text = heading("Run Order")
    for (i = 0; i < n; i++) {
        sum += share[i]
        text = text node_row(type[i], ms * share[i] / 100, share[i], sum, kib, name[i])
        if (!(type[i] in counts)) order[types++] = type[i]
        counts[type[i]]++
        shares[type[i]] += share[i]
    }
    text = text "\n" heading("Top by Computation Time")
    for (i = 0; i < n; i++) left[i] = share[i]
    sum = 0
    for (k = 0; k < n && k < 10; k++) {
        best = ""
        for (i = 0; i < n; i++) if ((i in left) && (best == "" || left[i] > left[best])) best = i
        sum += left[best]
        text = text node_row(type[best], ms * left[best] / 100, left[best], sum, kib, name[best])
        delete left[best]
    }
    text = text "\nNumber of nodes executed: " n "\n" heading("Summary by node type")
    sum = 0
    for (i = 0; i < types; i++) {
        sum += shares[order[i]]
        text = text type_row(order[i], counts[order[i]], ms * shares[order[i]] / 100, shares[order[i]], sum, kib)
    }
    return text "\nTimings (microseconds): " line "\nMemory (bytes): count=0\n" n " nodes observed\n\n\n"
}
function node(a_type, a_share, a_name) {
    type[nodes] = a_type; share[nodes] = a_share; name[nodes] = "[" a_name "]:" nodes; nodes++
}
function profile(line,   text) {
    nodes = 0
    csv = flag("profiling_output_csv_file", "") != ""
    type[0] = "AllocateTensors"; share[0] = 100; name[0] = "AllocateTensors/0"
    text = (csv ? "" : "INFO: ") "Profiling Info for Benchmark Initialization:\n" tables(1, 0.217, 128, "count=1 curr=217") "\n"
    node("CONV_2D", 38, "net/stem/Relu;net/stem/Conv2D")
    node("CONV_2D", 21, "net/expand/Relu6;net/expand/BiasAdd")
    node("DEPTHWISE_CONV_2D", 17, "net/mix/depthwise")
    node("DEPTHWISE_CONV_2D", 9, "net/cheap/depthwise;net/cheap/BiasAdd")
    node("CONCATENATION", 2.5, "net/concat, axis 3")
    node("MEAN", 1.5, "net/pool/Mean")
    node("FULLY_CONNECTED", 11, "net/head/MatMul;net/head/BiasAdd")
    text = text (csv ? "" : "INFO: ") "Operator-wise Profiling Info for Regular Benchmark Runs:\n" tables(nodes, average / 1000, 0, line) "\n"
    if (csv) printf "%s", text > given["profiling_output_csv_file"]
    else out = out text
}

BEGIN {
    faults = " " ENVIRON["FAKE_BENCHMARK"] " "
    graph = ENVIRON["GRAPH"]
    state = ENVIRON["STATE"]
    size = ENVIRON["SIZE"]
    runs = ENVIRON["RUNS"]
    mean = ENVIRON["MEAN"]
    split("num_runs min_secs max_secs num_threads warmup_runs warmup_min_secs max_delegated_partitions", list, " ")
    for (i in list) number[list[i]] = known[list[i]] = 1
    split("graph run_delay run_frequency use_caching benchmark_name output_prefix verbose dry_run report_peak_memory_footprint memory_footprint_check_interval_ms input_layer input_layer_shape input_layer_value_range input_layer_value_files allow_fp16 require_full_delegation enable_op_profiling max_profiling_buffer_entries allow_dynamic_profiling_buffer_increase profiling_output_csv_file print_preinvoke_state print_postinvoke_state release_dynamic_tensors optimize_memory_for_large_tensors disable_delegate_clustering use_xnnpack use_gpu gpu_precision_loss_allowed use_nnapi external_delegate_path external_delegate_options min_nodes_per_partition", list, " ")
    for (i in list) known[list[i]] = 1
    if (faults ~ / litert /) {
        split("input_layer input_layer_shape input_layer_value_range input_layer_value_files enable_op_profiling max_profiling_buffer_entries allow_dynamic_profiling_buffer_increase profiling_output_csv_file use_xnnpack use_nnapi external_delegate_path external_delegate_options", list, " ")
        for (i in list) delete known[list[i]]
        split("use_cpu use_npu use_profiler dispatch_library_path compiler_plugin_library_path gpu_backend", list, " ")
        for (i in list) known[list[i]] = 1
    }
    if (faults ~ / unconsumed_flags /) { for (i in known) delete known[i]; known["graph"] = 1 }

    out = "INFO: STARTING!\nWARN: Duplicate flags: num_threads\n"
    for (i = 1; i < ARGC; i++) {
        word = ARGV[i]
        equals = index(word, "=")
        key = substr(word, 3, (equals ? equals : length(word) + 1) - 3)
        value = equals ? substr(word, equals + 1) : "true"
        if (word !~ /^--/ || !(key in known)) { unconsumed = unconsumed " " word; continue }
        if ((key in number) && value !~ /^-?[0-9]+(\.[0-9]+)?$/) {
            printf "%s", out
            error("Failed to parse flag \047" key "\047 against argv \047" word "\047")
            usage = "usage: benchmark_model <flags>\nFlags:\n"
            for (key in known) usage = usage "\t--" key "=\tstring\toptional\tas in 2.14\n"
            error(usage)
            exit 1
        }
        given[key] = value
    }
    if (unconsumed != "") out = out "WARN: Unconsumed cmdline flags:" unconsumed "\n"
    if (graph == "") {
        error("Please specify the name of your TF Lite input file with --graph")
        give_up()
    }
    info("Log parameter values verbosely: [" yes("verbose") "]")
    parameter("num_runs", "Min num runs")
    parameter("min_secs", "Min runs duration (seconds)")
    parameter("max_secs", "Max runs duration (seconds)")
    parameter("num_threads", "Num threads")
    parameter("warmup_runs", "Min warmup runs")
    parameter("warmup_min_secs", "Min warmup runs duration (seconds)")
    parameter("dry_run", "Run w/o invoking kernels")
    parameter("report_peak_memory_footprint", "Report the peak memory footprint")
    info("Graph: [" graph "]")
    parameter("enable_op_profiling", "Enable op profiling")
    parameter("profiling_output_csv_file", "CSV File to export profiling data to")
    parameter("num_threads", "#threads used for CPU inference")
    parameter("use_xnnpack", "Use xnnpack")
    parameter("use_gpu", "Use gpu")
    if (state == "missing") {
        error("Could not open \047" graph "\047.")
        error("The model allocation is null/empty")
    } else if (state != "TFL3")
        error("The model is not a valid Flatbuffer buffer")
    if (state != "TFL3") { error("Failed to load model " graph); give_up() }

    info("Loaded model " graph)
    delegate = yes("use_gpu") ? "GPU" : "XNNPACK"
    if (delegate == "GPU" && faults ~ / litert /)
        info("Replacing 7 out of 7 node(s) with delegate (" (faults ~ / opengl / ? "LITERT_OPENGL" : "LITERT_CL") ") node, yielding 1 partitions for subgraph 0.")
    else if (delegate == "GPU") {
        info("GPU delegate created.")
        if (faults ~ / opengl /) { error("Can not open OpenCL library on this device"); error("Falling back to OpenGL") }
        info("Initialized Open" (faults ~ / opengl / ? "GL" : "CL") "-based API.")
    } else if (faults ~ / litert /)
        info("Replacing 7 out of 7 node(s) with delegate (TfLiteXNNPackDelegate) node, yielding 1 partitions for subgraph 0.")
    else info("Created TensorFlow Lite XNNPACK delegate for CPU.")
    if (faults ~ / silent_fallback /)
        info("Though " delegate " delegate is explicitly applied, the model graph will not be executed by the delegate.")
    else if (faults !~ / litert / && (yes("use_gpu") || yes("use_xnnpack")))
        info("Explicitly applied " delegate " delegate, and the model graph will be completely executed by the delegate.")
    info(sprintf("The input model file size (MB): %.6g", size / 1e6))

    seed = (size * 31 + runs * 7919) % 2147483646 + 1
    for (i = 0; i < 5; i++) uniform()
    if (mean == "") mean = 500 + size / 1000
    threads = flag("num_threads", 1) + 0
    if (threads < 1) threads = 1
    mean = mean / threads ^ 0.7 * (1 + 0.005 * normal())
    init = int(800 + size / 50000)
    info(sprintf("Initialized session in %.3fms.", init / 1000))
    line = rounds(flag("warmup_runs", 1) + 0, flag("warmup_min_secs", 0.5) + 0)
    info(line "\n")
    warmup = average
    cold = first
    line = rounds(flag("num_runs", 50) + 0, flag("min_secs", 1) + 0)
    info(line "\n")
    info(sprintf("Inference timings in us: Init: %d, First inference: %d, Warmup (avg): %.6g, Inference (avg): %.6g", init, cold, warmup, average))
    info("Note: as the benchmark tool itself affects memory footprint, the following is only APPROXIMATE to the actual memory footprint of the model at runtime. Take the information at your discretion.")
    info(sprintf("Memory footprint delta from the start of the tool (MB): init=%.6g overall=%.6g", 2.5 + size / 4e6, 5.25 + size / 1e6))
    if (yes("report_peak_memory_footprint"))
        info(sprintf("Overall peak memory footprint (MB) via periodic monitoring: %.6g", 9.5 + size / 1e6))
    if (yes("enable_op_profiling") || yes("use_profiler")) profile(line)
    if (faults ~ / (kill_process|truncated_output|hang) /) out = substr(out, 1, index(out, "Running benchmark") + 40)
    printf "%s", out
}
' "$@"
code=$?
[ -n "$graph" ] || exit $code
fails kill_process && kill -KILL $$
fails hang && exec sleep 3600
exit $code
