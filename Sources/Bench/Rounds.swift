import Logging
import StorageDriver

/// Lets drivers do works in turn: each round of a work is done by all of them before the next one begins, each time by
/// another one first, so that what drifts on the host meets all alike.
struct Rounds {
    let bench: Bench
    let works: [any Work]
    /// Bytes that must be free before a driver begins.
    let room: UInt64
    let logger: Logger
    let progress: (BenchRun.Progress) -> Void
    private let began = Clock.nanoseconds
    /// Time of the rounds' loops, and of what works did in them.
    private var loopNanoseconds: UInt64 = 0
    private var workNanoseconds: UInt64 = 0

    init(
        bench: Bench, works: [any Work], room: UInt64, logger: Logger, progress: @escaping (BenchRun.Progress) -> Void
    ) {
        self.bench = bench
        self.works = works
        self.room = room
        self.logger = logger
        self.progress = progress
    }

    mutating func run(_ contenders: [Contender]) throws(StorageError) {
        for (index, work) in works.enumerated() {
            let start = Clock.nanoseconds
            var ready: [Contender] = []
            for contender in contenders {
                show("\(work.title): making ready, \(contender.driver)", Double(index))
                try bench.checkpoint()
                let isReady = try contender.run(work) { _ in
                    try contender.awaitRoom(room, bench)
                    try work.prepare(contender)
                    try contender.settle()
                }
                if isReady { ready.append(contender) }
            }
            try repeated(work, index, &ready)
            for contender in contenders {
                show("\(work.title): tidying up, \(contender.driver)", Double(index + 1))
                // What is left is removed with the root; the next work may meet it.
                _ = try contender.run(work) { _ in try contender.clear() }
            }
            logger.info("\(work.title): \(Quantity.text(Clock.nanoseconds - start, .nanoseconds)) in all")
        }
    }

    private mutating func repeated(
        _ work: any Work, _ index: Int, _ contenders: inout [Contender]
    ) throws(StorageError) {
        let start = Clock.nanoseconds
        let (least, most) = work.isOnce ? (1, 1) : (bench.plan.leastRounds, bench.plan.mostRounds)
        // Round 0 warms up.
        for round in (work.isOnce ? 1 : 0)...most where !contenders.isEmpty {
            let spent = Double(Clock.nanoseconds - start) / (Double(bench.plan.secondsPerWork) * 1e9)
            if round > least, spent >= 1 { break }
            let loop = Clock.nanoseconds
            var failed: Set<String> = []
            for turn in contenders.indices {
                let contender = contenders[(turn + round) % contenders.count]
                let part = max(min(spent, 1), Double(round) / Double(most + 1))
                show("\(work.title), round \(round): \(contender.driver)", Double(index) + part)
                try bench.checkpoint()
                let before = Clock.nanoseconds
                let isDone = try contender.run(work) { recorder in
                    try contender.awaitRoom(room, bench)
                    recorder.isWarmUp = round == 0
                    try work.round(round, contender, &recorder)
                    recorder.isWarmUp = false
                    try contender.settle()
                }
                workNanoseconds += Clock.nanoseconds - before
                if !isDone { failed.insert(contender.driver) }
            }
            contenders.removeAll { failed.contains($0.driver) }
            loopNanoseconds += Clock.nanoseconds - loop
        }
    }

    /// All works count alike; those to come are thought to take as long as those before them, and half of the time that
    /// they have at least.
    private func show(_ step: String, _ done: Double) {
        let elapsed = Double(Clock.nanoseconds - began) / 1e9
        let each = max(done < 1 ? 0 : elapsed / done, Double(bench.plan.secondsPerWork) / 2)
        let left = UInt64(each * (Double(works.count) - done))
        progress(BenchRun.Progress(step: step, part: done / Double(works.count), secondsLeft: left))
    }

    /// The time of the loops that was not the works' own, and what timing itself takes, beside the time that was timed.
    func overhead(_ contenders: [Contender]) -> Report.Overhead {
        var idle = Recorder()
        for _ in 0..<1000 { idle.time("nothing") {} }
        let each = Double(idle.timedNanoseconds) / 1000
        let start = Clock.nanoseconds
        for _ in 0..<1000 { idle.time("nothing") {} }
        let cost = max(Double(Clock.nanoseconds - start) / 1000, each)
        let timings = contenders.reduce(0) { $0 + $1.recorder.timings }
        let timed = contenders.reduce(0) { $0 + $1.recorder.timedNanoseconds }
        return Report.Overhead(
            harnessNanoseconds: loopNanoseconds - workNanoseconds + UInt64(cost * Double(timings)),
            workNanoseconds: timed)
    }
}
