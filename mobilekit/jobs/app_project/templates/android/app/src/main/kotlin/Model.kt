package com.example.app

import android.content.res.AssetManager
import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.CompiledModel
import com.google.ai.edge.litert.TensorBuffer
import kotlin.math.round

/** One of FILES, opened by LiteRT. Tensors are numbers as the file takes and gives them, in its order. */
class Model(
    assets: AssetManager,
    private val facts: FileFacts,
    accelerator: Accelerator = Accelerator.CPU,
    threads: Int = 1,
) : AutoCloseable {
    private val compiled = CompiledModel.create(assets, facts.file, optionsOf(accelerator, threads))
    private val input = compiled.createInputBuffer(facts.input.name)
    private val outputs = facts.outputs.associate { it.name to compiled.createOutputBuffer(it.name) }

    /** Return the outputs by name, as the values that the file's numbers stand for. */
    fun run(tensor: DoubleArray): Map<String, DoubleArray> {
        write(input, facts.input.numbers, tensor)
        compiled.run(mapOf(facts.input.name to input), outputs)
        return facts.outputs.associate { it.name to decode(read(outputs.getValue(it.name), it.numbers), it) }
    }

    override fun close() {
        input.close()
        outputs.values.forEach { it.close() }
        compiled.close()
    }
}

private fun optionsOf(accelerator: Accelerator, threads: Int): CompiledModel.Options {
    val options = CompiledModel.Options(accelerator)
    if (accelerator == Accelerator.CPU) options.cpuOptions = CompiledModel.CpuOptions(numThreads = threads)
    return options
}

private fun write(buffer: TensorBuffer, numbers: Numbers, tensor: DoubleArray) = when (numbers) {
    Numbers.FLOAT32 -> buffer.writeFloat(FloatArray(tensor.size) { tensor[it].toFloat() })
    Numbers.INT8, Numbers.UINT8 -> buffer.writeInt8(ByteArray(tensor.size) { tensor[it].toInt().toByte() })
    Numbers.INT32 -> buffer.writeInt(IntArray(tensor.size) { tensor[it].toInt() })
    Numbers.INT64 -> buffer.writeLong(LongArray(tensor.size) { tensor[it].toLong() })
    Numbers.BOOL -> buffer.writeBoolean(BooleanArray(tensor.size) { tensor[it] != 0.0 })
}

private fun read(buffer: TensorBuffer, numbers: Numbers): DoubleArray = when (numbers) {
    Numbers.FLOAT32 -> buffer.readFloat().let { made -> DoubleArray(made.size) { made[it].toDouble() } }
    Numbers.INT8 -> buffer.readInt8().let { made -> DoubleArray(made.size) { made[it].toDouble() } }
    Numbers.UINT8 -> buffer.readInt8().let { made -> DoubleArray(made.size) { made[it].toUByte().toDouble() } }
    Numbers.INT32 -> buffer.readInt().let { made -> DoubleArray(made.size) { made[it].toDouble() } }
    Numbers.INT64 -> buffer.readLong().let { made -> DoubleArray(made.size) { made[it].toDouble() } }
    Numbers.BOOL -> buffer.readBoolean().let { made -> DoubleArray(made.size) { if (made[it]) 1.0 else 0.0 } }
}

/** Return the values that a tensor's numbers stand for. */
fun decode(numbers: DoubleArray, facts: TensorFacts): DoubleArray {
    val scale = facts.scale ?: return numbers
    return DoubleArray(numbers.size) { (numbers[it] - facts.zeroPoint) * scale }
}

/** Return the bytes of channels, pixel by pixel, as a file takes them. */
fun tensorOf(bytes: IntArray, facts: TensorFacts): DoubleArray =
    DoubleArray(bytes.size) { encode(normalized(bytes[it], it % CHANNELS), facts) }

private fun encode(value: Double, facts: TensorFacts): Double {
    val scale = facts.scale ?: return value
    val lowest = if (facts.numbers == Numbers.INT8) -128.0 else 0.0
    return (round(value / scale) + facts.zeroPoint).coerceIn(lowest, lowest + 255)
}
