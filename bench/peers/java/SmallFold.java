import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import com.sun.management.OperatingSystemMXBean;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.LocalDate;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AdminClientConfig;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.processor.api.ContextualFixedKeyProcessor;
import org.apache.kafka.streams.processor.api.FixedKeyRecord;
import org.apache.kafka.streams.state.KeyValueStore;

/** The small fold of bench/small_fold.py on Kafka Streams: RocksDB with a changelog topic, caches as they come. */
public final class SmallFold {

    static final long DAY = 86_400_000L;
    static final String[] KINDS = {
        "supplier.signed_up", "supplier.logged_in", "client.active", "client.imported", "client.removed",
        "form.created", "form.sent", "form.completed", "journey.created", "journey.activated",
        "journey.email_sent", "journey.email_opened", "template.used", "payment.received", "plan.changed",
    };
    static final Map<String, Integer> KIND = new HashMap<>();
    static final int LOGIN = 1, SENT = 6, COMPLETED = 7, MAILED = 10, OPENED = 11;
    static final int[] KEY_FEATURES = {3, 5, 8, 12};
    static final int REMEMBERED_DAYS = 63;
    static final long DAYS = (1L << REMEMBERED_DAYS) - 1;
    static final long MONTH = (1L << 30) - 1;

    static {
        for (int kind = 0; kind < KINDS.length; kind++) {
            KIND.put(KINDS[kind], kind);
        }
    }

    @JsonIgnoreProperties(ignoreUnknown = true)
    public static final class Event {
        public String type;
        public String time;
    }

    static final class State {
        long clock, lastLogin, lastDay, days;
        double score;
        final int[] counts = new int[KINDS.length];

        State fold(Event event) {
            Integer kind = KIND.get(event.type);
            if (kind == null) {
                return this;
            }
            long at = millis(event.time);
            counts[kind]++;
            clock = Math.max(clock, at);
            if (kind == LOGIN) {
                lastLogin = Math.max(lastLogin, at);
            }
            long ahead = Math.floorDiv(at, DAY) - lastDay;
            if (ahead > 0) {
                lastDay += ahead;
                days = ahead < REMEMBERED_DAYS ? (days << ahead | 1) & DAYS : 1;
            } else if (ahead > -REMEMBERED_DAYS) {
                days |= 1L << -ahead;
            }
            score = loginPoints() + usePoints();
            return this;
        }

        private double loginPoints() {
            long away = (clock - lastLogin) / DAY;
            return away < 3 ? 30 : away < 7 ? 20 : away < 14 ? 10 : away < 30 ? 5 : 0;
        }

        private double usePoints() {
            int used = 0;
            for (int kind : KEY_FEATURES) {
                used += counts[kind] > 0 ? 1 : 0;
            }
            double forms = counts[SENT] > 0 ? Math.min(1.0, (double) counts[COMPLETED] / counts[SENT]) : 0.0;
            double emails = counts[MAILED] > 0 ? Math.min(1.0, (double) counts[OPENED] / counts[MAILED]) : 0.0;
            return used * 6.25 + Long.bitCount(days & MONTH) / 30.0 * 25 + forms * 10 + emails * 10;
        }

        byte[] pack() {
            ByteBuffer packed = ByteBuffer.allocate(40 + 4 * counts.length);
            packed.putLong(clock).putLong(lastLogin).putLong(lastDay).putLong(days).putDouble(score);
            for (int count : counts) {
                packed.putInt(count);
            }
            return packed.array();
        }

        static State unpack(byte[] bytes) {
            ByteBuffer packed = ByteBuffer.wrap(bytes);
            State state = new State();
            state.clock = packed.getLong();
            state.lastLogin = packed.getLong();
            state.lastDay = packed.getLong();
            state.days = packed.getLong();
            state.score = packed.getDouble();
            for (int kind = 0; kind < state.counts.length; kind++) {
                state.counts[kind] = packed.getInt();
            }
            return state;
        }
    }

    /** The time of a producer that writes yyyy-MM-ddTHH:mm:ss.SSSZ, cheaper than Instant.parse. */
    static long millis(String time) {
        long days = LocalDate.of(number(time, 0, 4), number(time, 5, 7), number(time, 8, 10)).toEpochDay();
        long seconds = number(time, 11, 13) * 3600L + number(time, 14, 16) * 60L + number(time, 17, 19);
        return days * DAY + seconds * 1000 + number(time, 20, 23);
    }

    static int number(String text, int from, int to) {
        int number = 0;
        for (int place = from; place < to; place++) {
            number = number * 10 + text.charAt(place) - '0';
        }
        return number;
    }

    static final AtomicLong seen = new AtomicLong();
    static volatile long began;
    static volatile long cpuBegan;
    static final CountDownLatch done = new CountDownLatch(1);

    /** Counts records on their way to the fold, and asks for a commit after the last. */
    static final class Counting extends ContextualFixedKeyProcessor<Bytes, Event, Event> {
        private final long events;

        Counting(long events) {
            this.events = events;
        }

        @Override
        public void process(FixedKeyRecord<Bytes, Event> record) {
            long number = seen.incrementAndGet();
            if (number == 1) {
                began = System.nanoTime();
                cpuBegan = cpu();
            }
            context().forward(record);
            if (number == events) {
                context().commit();
                done.countDown();
            }
        }
    }

    /** CPU time of this process in ns. */
    static long cpu() {
        return ManagementFactory.getPlatformMXBean(OperatingSystemMXBean.class).getProcessCpuTime();
    }

    /** The most memory this process has had at once. */
    static double peakMemoryMb() throws IOException {
        for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
            if (line.startsWith("VmHWM:")) {
                return Long.parseLong(line.replaceAll("[^0-9]", "")) / 1024.0;
            }
        }
        return 0;
    }

    static Event parse(ObjectReader reader, byte[] value) {
        try {
            return reader.readValue(value);
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    static KafkaStreams streams(String topic, long events, Properties settings) {
        ObjectReader reader = new ObjectMapper().readerFor(Event.class);
        Serde<State> stateSerde =
            Serdes.serdeFrom((ignored, state) -> state.pack(), (ignored, bytes) -> State.unpack(bytes));
        StreamsBuilder builder = new StreamsBuilder();
        builder.stream(topic, Consumed.with(Serdes.Bytes(), Serdes.ByteArray()))
            .mapValues(value -> parse(reader, value))
            .processValues(() -> new Counting(events))
            .groupByKey(Grouped.keySerde(Serdes.Bytes()))
            .aggregate(State::new, (key, event, state) -> state.fold(event),
                Materialized.<Bytes, State, KeyValueStore<Bytes, byte[]>>as("fold")
                    .withKeySerde(Serdes.Bytes()).withValueSerde(stateSerde));
        KafkaStreams streams = new KafkaStreams(builder.build(), settings);
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            Runtime.getRuntime().halt(1);
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        return streams;
    }

    /** Waits until the group has committed so many events: their effects are durable then. */
    static void awaitCommitted(String servers, String group, String topic, long events) throws Exception {
        try (Admin admin = Admin.create(Map.of(AdminClientConfig.BOOTSTRAP_SERVERS_CONFIG, servers))) {
            long committed = 0;
            while (committed < events) {
                committed = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get()
                    .entrySet().stream().filter(each -> each.getKey().topic().equals(topic))
                    .mapToLong(each -> each.getValue().offset()).sum();
                Thread.sleep(10);
            }
        }
    }

    /** Arguments: bootstrap servers, topic, application id, events, guarantee, commit interval ms, folder, threads. */
    public static void main(String[] args) throws Exception {
        long events = Long.parseLong(args[3]);
        Properties settings = new Properties();
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, args[0]);
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, args[2]);
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, args[4]);
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, args[5]);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, args[6]);
        settings.put(StreamsConfig.producerPrefix("transaction.timeout.ms"), 120_000);
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, args[7]);
        settings.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");
        KafkaStreams streams = streams(args[1], events, settings);
        streams.start();
        done.await();
        awaitCommitted(args[0], args[2], args[1], events);
        double seconds = (System.nanoTime() - began) / 1e9;
        double cpuSeconds = (cpu() - cpuBegan) / 1e9;
        streams.close(Duration.ofSeconds(30));
        System.out.println("{\"seconds\": " + seconds + ", \"cpu_seconds\": " + cpuSeconds
            + ", \"memory_mb\": " + peakMemoryMb() + "}");
    }
}
