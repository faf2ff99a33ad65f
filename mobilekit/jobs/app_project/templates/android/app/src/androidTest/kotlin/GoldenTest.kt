package com.example.app

import android.content.res.AssetManager
import android.util.Log
import androidx.test.platform.app.InstrumentationRegistry
import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.LiteRtException
import java.nio.ByteBuffer
import java.nio.ByteOrder
import kotlin.math.abs
import kotlin.math.sqrt
import org.json.JSONArray
import org.json.JSONObject
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Assume.assumeTrue
import org.junit.Test

private const val TAG = "GoldenTest"

/** Each file gives what it gave where this project was made, within the tolerances of goldens.json. */
class GoldenTest {
    private val files: AssetManager = InstrumentationRegistry.getInstrumentation().targetContext.assets
    private val folder: AssetManager = InstrumentationRegistry.getInstrumentation().context.assets
    private val goldens = JSONObject(bytesOf("goldens.json").decodeToString())
    private val cases = goldens.getJSONArray("cases").objects()

    @Test
    fun onTheProcessor() = replay(Accelerator.CPU, "cpu")

    @Test
    fun onTheGpu() = replay(Accelerator.GPU, "gpu")

    /** A picture becomes what the model sees, to two levels of 255; what these change is logged. */
    @Test
    fun fromThePicture() {
        for (facts in FILES) Model(files, facts).use { model ->
            for (case in cases) {
                if (case.isNull("picture") || case.isNull("scaled")) continue
                val picture = readGolden(case.getString("picture"))
                val seen = channelsOf(seenColors(colorsOf(picture), picture.width, picture.height))
                val meant = channelsOf(colorsOf(readGolden(case.getString("scaled"))))
                val levels = seen.indices.maxOf { abs(seen[it] - meant[it]) }
                val output = facts.outputs.first()
                val made = model.run(tensorOf(seen, facts.input)).getValue(output.name)
                val drift = measure("relative_l2", made, expected(case, facts, output))
                val row = "${facts.file}, ${case.getString("name")}: pixels $levels levels, outputs $drift (relative L2)"
                Log.i(TAG, row)
                if (SCALES_EXACTLY) assertTrue(row, levels <= 2)
            }
        }
    }

    /** Feed the goldens' own tensors. What the GPU does not take is skipped. */
    private fun replay(accelerator: Accelerator, place: String) {
        val faults = mutableListOf<String>()
        var rows = 0
        for (facts in FILES) {
            val golden = goldens.getJSONArray("files").objects().first { it.getString("file") == facts.file }
            val tolerances = golden.getJSONObject("tolerances").optJSONObject(place) ?: continue
            val model = try {
                Model(files, facts, accelerator)
            } catch (error: LiteRtException) {
                if (accelerator == Accelerator.CPU) throw error
                Log.w(TAG, "${facts.file} does not run on the $place: ${error.message}")
                continue
            }
            model.use {
                for (case in cases) {
                    val inputs = case.getJSONObject("inputs").getJSONObject(facts.file)
                    val made = it.run(readNpy(bytesOf(inputs.getString(facts.input.name))))
                    for (output in facts.outputs) {
                        val tolerance = tolerances.getJSONObject(output.name)
                        val metric = tolerance.getString("metric")
                        val limit = tolerance.getDouble("limit")
                        val value = measure(metric, made.getValue(output.name), expected(case, facts, output))
                        val isHeld = if (metric == "equal_labels") value >= limit else value <= limit
                        val row = "${facts.file}, ${case.getString("name")}, ${output.name}: $metric $value, limit $limit"
                        Log.i(TAG, row)
                        if (!isHeld) faults += row
                        rows++
                    }
                }
            }
        }
        assumeTrue("No file runs on the $place, or none has tolerances for it.", rows > 0)
        assertEquals("What is off", emptyList<String>(), faults)
    }

    private fun expected(case: JSONObject, facts: FileFacts, output: TensorFacts): DoubleArray {
        val paths = case.getJSONObject("expected").getJSONObject(facts.file)
        return decode(readNpy(bytesOf(paths.getString(output.name))), output)
    }

    private fun bytesOf(path: String): ByteArray = folder.open("goldens/$path").use { it.readBytes() }

    private fun readGolden(path: String) = folder.open("goldens/$path").use(::readPicture)
}

private fun JSONArray.objects(): List<JSONObject> = (0 until length()).map(::getJSONObject)

private fun measure(metric: String, made: DoubleArray, expected: DoubleArray): Double {
    check(made.size == expected.size) { "${made.size} values, and not ${expected.size}" }
    val differences = made.indices.map { made[it] - expected[it] }
    return when (metric) {
        "max_abs" -> differences.maxOf { abs(it) }
        "relative_l2" -> sqrt(differences.sumOf { it * it } / expected.sumOf { it * it })
        else -> differences.count { it == 0.0 }.toDouble() / made.size
    }
}

/** Read an .npy file: a header of text, and the numbers. */
internal fun readNpy(content: ByteArray): DoubleArray {
    val buffer = ByteBuffer.wrap(content).order(ByteOrder.LITTLE_ENDIAN)
    val size = buffer.getShort(8).toInt() and 0xffff
    val header = content.decodeToString(10, 10 + size)
    val kind = requireNotNull(Regex("'descr': '[<|](\\w\\d)'").find(header)) { header }.groupValues[1]
    val width = kind.drop(1).toInt()
    val start = 10 + size
    return DoubleArray((content.size - start) / width) {
        val at = start + it * width
        when (kind) {
            "f4" -> buffer.getFloat(at).toDouble()
            "i1" -> buffer.get(at).toDouble()
            "u1", "b1" -> buffer.get(at).toUByte().toDouble()
            "i4" -> buffer.getInt(at).toDouble()
            "i8" -> buffer.getLong(at).toDouble()
            else -> error("numbers of another kind: $header")
        }
    }
}
